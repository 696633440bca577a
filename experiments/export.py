"""See :mod:`ractd_jax.mains.export`."""

from ractd_jax.mains import export

__doc__ = export.__doc__

if __name__ == "__main__":
    export.run()
