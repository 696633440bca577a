"""See :mod:`ractd_jax.mains.evaluate`."""

from ractd_jax.mains import evaluate

__doc__ = evaluate.__doc__

if __name__ == "__main__":
    evaluate.run()
