"""See :mod:`ractd_jax.mains.compare`."""

from ractd_jax.mains import compare

__doc__ = compare.__doc__

if __name__ == "__main__":
    compare.run()
