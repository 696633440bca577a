"""See :mod:`ractd_jax.mains.inspect_dataset`."""

from ractd_jax.mains import inspect_dataset

__doc__ = inspect_dataset.__doc__

if __name__ == "__main__":
    inspect_dataset.run()
