"""See :mod:`ractd_jax.mains.train`."""

from ractd_jax.mains import train

__doc__ = train.__doc__

if __name__ == "__main__":
    train.run()
