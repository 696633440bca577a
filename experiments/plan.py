"""See :mod:`ractd_jax.mains.plan`."""

from ractd_jax.mains import plan

__doc__ = plan.__doc__

if __name__ == "__main__":
    plan.run()
