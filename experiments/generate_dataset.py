"""See :mod:`ractd_jax.mains.generate_dataset`."""

from ractd_jax.mains import generate_dataset

__doc__ = generate_dataset.__doc__

if __name__ == "__main__":
    generate_dataset.run()
