"""See :mod:`ractd_jax.mains.play`."""

from ractd_jax.mains import play

__doc__ = play.__doc__

if __name__ == "__main__":
    play.run()
