"""The report of a pipeline: one table, one picture, from saved raw returns."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from ractd_jax.evaluation.rollout import EpisodeResults
from ractd_jax.evaluation.statistics import (
    normalized_score,
    summarize,
    two_mode_threshold,
)
from ractd_jax.settings import Environment

_COLUMNS = ("planner", "NFE", "score", "95% interval", "median", "upper mode",
            "ms per plan", "running_max_score")  # fmt: skip


def build_report(
    dataset_returns: np.ndarray,
    results: Mapping[str, EpisodeResults],
    nfe: Mapping[str, int],
    latency: Mapping[str, dict[str, float]],
    environment: Environment,
) -> dict:
    """JSON-able comparison of planners on one dataset.

    Args:
      dataset_returns: [E] true returns of the data's episodes.
      results: planner name -> raw evaluation.
      nfe: planner name -> network evaluations per plan in that evaluation.
      latency: planner name -> seconds per batch-1 plan.
      environment: reference returns of the score.

    Returns:
      ``upper_mode_return`` (the return that best splits the data's episodes in two),
      ``dataset`` and, for each planner, its statistics and ``upper_mode_share``.
    """
    threshold = two_mode_threshold(dataset_returns)
    rows = {}
    for name, result in results.items():
        rows[name] = {
            **summarize(result, environment),
            "upper_mode_share": float(np.mean(result.returns > threshold)),
            "nfe": nfe[name],
        }
    return {
        "upper_mode_return": threshold,
        "dataset": {
            "score_mean": float(normalized_score(dataset_returns, environment).mean()),
            "upper_mode_share": float(np.mean(dataset_returns > threshold)),
        },
        "planners": rows,
        "latency": dict(latency),
    }


def format_table(report: dict) -> str:
    """The report as a Markdown table."""
    lines = ["| " + " | ".join(_COLUMNS) + " |", "|---" * len(_COLUMNS) + "|"]
    for name, row in report["planners"].items():
        low, high = row["score_interval_95"]
        timing = report["latency"].get(name)
        cells = (
            name,
            row["nfe"],
            f"{row['score_mean']:.1f}",
            f"{low:.1f} .. {high:.1f}",
            f"{row['score_median']:.1f}",
            f"{100 * row['upper_mode_share']:.0f}%",
            f"{1e3 * timing['p50']:.2f}" if timing else "-",
            f"{row['running_max_score']:.1f}",
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def draw_returns(
    path: str | os.PathLike,
    dataset_returns: np.ndarray,
    results: Mapping[str, EpisodeResults],
    environment: Environment,
    threshold: float,
) -> None:
    """Histograms of true scores, data first (thesis figure 3.3)."""
    from matplotlib.figure import Figure

    groups = {"data": dataset_returns} | {k: v.returns for k, v in results.items()}
    scores = {name: normalized_score(r, environment) for name, r in groups.items()}
    highest = max(100.0, *(values.max() for values in scores.values()))
    bins = np.linspace(0.0, 1.05 * highest, 43)
    figure = Figure(figsize=(7.0, 1.25 * len(scores)), layout="constrained")
    axes = figure.subplots(len(scores), 1, sharex=True, squeeze=False)[:, 0]
    split = float(normalized_score(np.array(threshold), environment))
    for axis, (name, values) in zip(axes, scores.items(), strict=True):
        weights = np.full(len(values), 1.0 / len(values))
        axis.hist(np.clip(values, bins[0], bins[-1]), bins, weights=weights)
        axis.axvline(split, color="black", linewidth=0.8, linestyle=":")
        axis.set_ylabel(name, rotation=0, ha="right", va="center")
        axis.set_yticks([])
        axis.spines[["top", "right", "left"]].set_visible(False)
    axes[-1].set_xlabel("score of the true return (dotted: split of the two modes)")
    figure.savefig(path, dpi=120)
