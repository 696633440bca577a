"""An action that the data never varies is that action, in a planner and in its file."""

import jax
import numpy as np

from tests.export.test_export import make_observations


def test_an_action_never_moved_stays_where_it_was(planner, loaded):
    """Random weights say anything of it; its value comes out to the bit."""
    observations = make_observations(6)
    still = planner.action_normalizer.low[2]
    key = jax.random.key(3)
    for plans in (planner.plan(observations, key), loaded.plan(observations, key)):
        assert plans.shape == (6, 8, 3)
        np.testing.assert_array_equal(plans[..., 2], still)
        assert np.ptp(plans[..., 0]) > 0.1
