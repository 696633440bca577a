"""The programs that users launch: each reads flags and calls the package.

``python -m ractd_jax COMMAND`` runs them where there is no checkout; the files of
``experiments/`` do so in one.
"""
