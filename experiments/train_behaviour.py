"""See :mod:`ractd_jax.mains.train_behaviour`."""

from ractd_jax.mains import train_behaviour

__doc__ = train_behaviour.__doc__

if __name__ == "__main__":
    train_behaviour.run()
