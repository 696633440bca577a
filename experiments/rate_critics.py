"""See :mod:`ractd_jax.mains.rate_critics`."""

from ractd_jax.mains import rate_critics

__doc__ = rate_critics.__doc__

if __name__ == "__main__":
    rate_critics.run()
