"""Made-up sweeps over reward weights, in the files that a sweep writes.

``python tests/sweep_files.py FOLDER`` writes the one that docs/statistics.md shows.
"""

import json
import sys
from pathlib import Path

import numpy as np

TASK = {
    "task": "hopper-medium-replay",
    "environment": "Hopper-v5",
    "score_min": -20.27,
    "score_max": 3234.3,
}


def member_rows(params, seed, scores, task=TASK, last_finite=None):
    """Rows and returns of one member.

    Args:
      params: its parameters.
      seed: of its training.
      scores: step -> [E] scores.
      task: fields of the task.
      last_finite: last step before it became non-finite; None if it did not.
    """
    name = ",".join(f"{k}={v}" for k, v in {**params, "seed": seed}.items())
    rows, returns = [], {}
    for step, values in scores.items():
        finite = last_finite is None or step <= last_finite
        span = task["score_max"] - task["score_min"]
        raw = task["score_min"] + span * np.asarray(values, np.float64) / 100
        row = {"name": name, "params": params, "seed": seed, **task, "step": step}
        row |= {"last": step == max(scores), "finite": finite}
        row |= {"num_episodes": len(raw) if finite else 0}
        row |= {"return_mean": raw.mean() if finite else None}
        row |= {"score_mean": float(np.mean(values)) if finite else None}
        rows.append(row)
        if finite:
            returns[f"{name}@{step}"] = raw
    return rows, returns


def write_members(folder, members):
    """Writes the (rows, returns) of `members` as a sweep does."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for some, _ in members for row in some]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "results.jsonl").write_text(text)
    arrays = {key: value for _, some in members for key, value in some.items()}
    np.savez_compressed(folder / "returns.npz", **arrays)


def write_sweep(folder, weights=(0, 0.3, 1), seeds=5, task=TASK, num_steps=6):
    """A sweep; with five seeds, the largest weight's last one diverges half way."""
    rng = np.random.default_rng(0)
    members = []
    for weight in weights:
        for seed in range(seeds):
            steps = 1000 * np.arange(1, num_steps + 1)
            level = 25 + 40 * weight * (1.6 - weight) + 4 * rng.normal()
            means = level * (1 - np.exp(-steps / 2000))
            means[1:] += 3 * rng.normal(size=num_steps - 1)
            scores = {
                int(step): mean + 6 * rng.normal(size=10)
                for step, mean in zip(steps, means, strict=True)
            }
            fails = (weight, seed) == (weights[-1], 4)
            last = int(steps[num_steps // 2 - 1]) if fails else None
            params = {"reward_weight": weight}
            members.append(member_rows(params, seed, scores, task, last))
    write_members(folder, members)


if __name__ == "__main__":
    write_sweep(sys.argv[1])
