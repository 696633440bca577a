"""See :mod:`ractd_jax.mains.train_team`."""

from ractd_jax.mains import train_team

__doc__ = train_team.__doc__

if __name__ == "__main__":
    train_team.run()
