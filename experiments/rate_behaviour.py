"""See :mod:`ractd_jax.mains.rate_behaviour`."""

from ractd_jax.mains import rate_behaviour

__doc__ = rate_behaviour.__doc__

if __name__ == "__main__":
    rate_behaviour.run()
