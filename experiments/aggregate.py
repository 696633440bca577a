"""See :mod:`ractd_jax.mains.aggregate`."""

from ractd_jax.mains import aggregate

__doc__ = aggregate.__doc__

if __name__ == "__main__":
    aggregate.run()
