"""The usual changes of a dataset's states: the units of relative plans."""

from __future__ import annotations

import numpy as np

from ractd_jax.data.episodes import Episodes
from ractd_jax.data.windows import index_windows, window_states
from ractd_jax.normalizers import Changes, Normalizer, fit_changes
from ractd_jax.settings import Plan

# So many windows say what is usual.
_WINDOWS = 20_000


def some_windows(episodes: Episodes, normalizer: Normalizer, plan: Plan) -> np.ndarray:
    """[N, H, O] normalised states of evenly spaced windows, the same at every call."""
    index = index_windows(episodes, plan.horizon, "repeat_last")
    rows = np.arange(len(index.start))[:: -(-len(index.start) // _WINDOWS)]
    states = window_states(
        episodes.observations, index, rows, plan.horizon, plan.stride
    )
    return normalizer.normalize(states)


def plan_changes(
    episodes: Episodes, normalizer: Normalizer, plan: Plan
) -> Changes | None:
    """The units of relative plans of these episodes; None for plans that are not."""
    if not plan.relative:
        return None
    return fit_changes(some_windows(episodes, normalizer, plan))
