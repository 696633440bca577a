"""See :mod:`ractd_jax.mains.train_student`."""

from ractd_jax.mains import train_student

__doc__ = train_student.__doc__

if __name__ == "__main__":
    train_student.run()
