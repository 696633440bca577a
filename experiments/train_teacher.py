"""See :mod:`ractd_jax.mains.train_teacher`."""

from ractd_jax.mains import train_teacher

__doc__ = train_teacher.__doc__

if __name__ == "__main__":
    train_teacher.run()
