"""See :mod:`ractd_jax.mains.pipeline`."""

from ractd_jax.mains import pipeline

__doc__ = pipeline.__doc__

if __name__ == "__main__":
    pipeline.run()
