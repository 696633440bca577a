"""See :mod:`ractd_jax.mains.combinations`."""

from ractd_jax.mains import combinations

__doc__ = combinations.__doc__

if __name__ == "__main__":
    combinations.run()
