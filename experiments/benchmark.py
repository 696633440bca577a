"""See :mod:`ractd_jax.mains.benchmark`."""

from ractd_jax.mains import benchmark

__doc__ = benchmark.__doc__

if __name__ == "__main__":
    benchmark.run()
