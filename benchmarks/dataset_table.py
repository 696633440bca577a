"""Records every task that is made here and describes it: a Markdown table, JSON.

  python -m benchmarks.dataset_table --output=docs/results/datasets

Restartable: what --workdir has is not recorded again.
"""

import json
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import flags

from ractd_jax.data.minari_source import load_minari
from ractd_jax.data.minari_store import has_minari
from ractd_jax.files import write_json
from ractd_jax.mains import launch
from ractd_jax.recording.generate import dataset_id, generate_dataset
from ractd_jax.tables import markdown_table

FLAGS = flags.FLAGS
_KINDS = ("medium", "medium-replay", "medium-expert")
_TASKS = [f"{e}-{k}" for e in ("hopper", "walker2d", "halfcheetah") for k in _KINDS]
_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


def describe(task: str, root: str) -> dict:
    begin = time.perf_counter()
    if not has_minari(dataset_id(task), root):
        generate_dataset(task, FLAGS.num_transitions, FLAGS.seed, root=root)
    seconds = time.perf_counter() - begin
    episodes, origin = load_minari(dataset_id(task), root)
    span = origin.score_max - origin.score_min
    return {
        "task": task,
        "episodes": episodes.num_episodes,
        "transitions": episodes.num_transitions,
        "return_quantiles": np.quantile(episodes.returns, _QUANTILES).tolist(),
        "return_mean": float(episodes.returns.mean()),
        "score_mean": float(100 * (episodes.returns.mean() - origin.score_min) / span),
        "ended_by_terminal": float(episodes.terminals.sum() / episodes.num_episodes),
        "record_seconds": seconds,
    }


def format_rows(rows: list[dict]) -> str:
    header = ["dataset", "episodes", "transitions", "return: min", "25%", "median"]
    header += ["75%", "max", "mean", "score", "falls"]
    cells = [
        (
            f"`{dataset_id(row['task'])}`",
            row["episodes"],
            row["transitions"],
            *(f"{value:.0f}" for value in row["return_quantiles"]),
            f"{row['return_mean']:.0f}",
            f"{row['score_mean']:.1f}",
            f"{100 * row['ended_by_terminal']:.0f}%",
        )
        for row in rows
    ]
    return markdown_table(header, cells) + "\n"


def main():
    output = Path(FLAGS.output)
    with tempfile.TemporaryDirectory() as temporary:
        root = str(Path(FLAGS.workdir or temporary) / "datasets")
        rows = []
        for task in FLAGS.tasks:
            rows.append(describe(task, root))
            print(json.dumps(rows[-1]))
    write_json(output.with_suffix(".json"), rows)
    output.with_suffix(".md").write_text(format_rows(rows))


if __name__ == "__main__":
    flags.DEFINE_list("tasks", _TASKS, "Tasks to record.")
    flags.DEFINE_integer("num_transitions", 200_000, "Of each task.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of the recordings.")
    flags.DEFINE_string("workdir", None, "Keeps the datasets; default: they are not.")
    flags.DEFINE_string("output", None, "Table to write, no suffix.", required=True)
    launch.run(main)
