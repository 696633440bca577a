"""See :mod:`ractd_jax.mains.reward_table`."""

from ractd_jax.mains import reward_table

__doc__ = reward_table.__doc__

if __name__ == "__main__":
    reward_table.run()
