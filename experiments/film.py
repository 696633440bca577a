"""See :mod:`ractd_jax.mains.film`."""

from ractd_jax.mains import film

__doc__ = film.__doc__

if __name__ == "__main__":
    film.run()
