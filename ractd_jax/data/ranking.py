"""Whether a reward model or critic ranks: by returns-to-go, and by known policies.

A low error says little about a critic: values vary with the state far more than with
the action. What its users need is the order of actions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import spearmanr

# (observations [B, O], actions [B, A]), in environment units -> [B]
RateFn = Callable[[np.ndarray, np.ndarray], np.ndarray]
_FEWEST = 100


def rank_correlation(values: np.ndarray, returns: np.ndarray) -> float:
    """Spearman's rank correlation; 0 where either is constant."""
    if not np.ptp(values) or not np.ptp(returns):
        return 0.0
    return float(spearmanr(values, returns).statistic)


def rank_within(values: np.ndarray, returns: np.ndarray, groups: np.ndarray) -> float:
    """Mean over groups of :func:`rank_correlation` inside each.

    Within the data of one policy, a high correlation cannot come from telling the
    policies apart.

    Args:
      values: [N] predicted.
      returns: [N] recorded.
      groups: [N] of each row; groups of fewer than 100 rows are left out.
    """
    found = [
        rank_correlation(values[groups == group], returns[groups == group])
        for group in np.unique(groups)
        if (groups == group).sum() >= _FEWEST
    ]
    return float(np.mean(found))


def preferred_share(
    rate: RateFn, observations: np.ndarray, actions: Sequence[np.ndarray]
) -> float:
    """How often the better of two known policies' actions gets the higher value.

    Args:
      rate: the values of actions.
      observations: [B, O] states.
      actions: [B, A] of each policy in these states, from the worst policy to the best.

    Returns:
      The share over all states and pairs of policies.
    """
    values = np.stack([np.asarray(rate(observations, each)) for each in actions])
    better = [
        np.mean(values[high] > values[low])
        for low in range(len(actions))
        for high in range(low + 1, len(actions))
    ]
    return float(np.mean(better))
