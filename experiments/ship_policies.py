"""See :mod:`ractd_jax.mains.ship_policies`."""

from ractd_jax.mains import ship_policies

__doc__ = ship_policies.__doc__

if __name__ == "__main__":
    ship_policies.run()
