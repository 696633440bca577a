"""See :mod:`ractd_jax.mains.train_reward`."""

from ractd_jax.mains import train_reward

__doc__ = train_reward.__doc__

if __name__ == "__main__":
    train_reward.run()
