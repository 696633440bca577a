"""See :mod:`ractd_jax.mains.maze_table`."""

from ractd_jax.mains import maze_table

__doc__ = maze_table.__doc__

if __name__ == "__main__":
    maze_table.run()
