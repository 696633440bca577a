"""See :mod:`ractd_jax.mains.sweep`."""

from ractd_jax.mains import sweep

__doc__ = sweep.__doc__

if __name__ == "__main__":
    sweep.run()
