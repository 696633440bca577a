"""See :mod:`ractd_jax.mains.maze_pictures`."""

from ractd_jax.mains import maze_pictures

__doc__ = maze_pictures.__doc__

if __name__ == "__main__":
    maze_pictures.run()
