"""How reward models and critics rank actions, over tasks and training seeds.

  python -m experiments.rate_critics --workdir=runs/rewards --results=runs/critics \
      --seeds=0

Trains reward models on the return-to-go, a SARSA and an IQL critic for each task and
seed in WORKDIR/TASK/seed_S, where experiments.benchmark --table=rewards finds them, and
writes RESULTS/TASK_S.json and the table of all that are there, RESULTS/table.md.
"""

import json
from pathlib import Path

from absl import flags

from ractd_jax import presets
from ractd_jax.files import check_writable, write_text
from ractd_jax.mains import flag_kinds, launch
from ractd_jax.pipelines import cells
from ractd_jax.pipelines.ranking import format_ranks, is_ranked, rank_cell
from ractd_jax.settings import from_mapping

FLAGS = flags.FLAGS


def main():
    results = Path(FLAGS.results)
    check_writable(results / "table.md")
    for seed in cells.chosen_seeds(FLAGS.seeds):
        for task in cells.chosen_tasks(FLAGS.tasks):
            config = presets.of_task(task, FLAGS.preset).unlock()
            config.seed = seed
            settings = from_mapping(config.to_dict())
            launch.use_fast_cpu_kernels(settings)
            path = results / f"{task}_{seed}.json"
            if not is_ranked(path, settings):
                rank_cell(settings, Path(FLAGS.workdir).absolute(), path)
    found = [json.loads(path.read_text()) for path in sorted(results.glob("*_*.json"))]
    found.sort(key=lambda cell: cells.TASKS.index(cell["task"]))
    text = format_ranks(found)
    write_text(results / "table.md", text)
    print(text)


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    flag_kinds.define_path("workdir", None, "Folder of the trainings.", required=True)
    flag_kinds.define_path("results", None, "Folder of the results.", required=True)
    flags.DEFINE_list("tasks", [], f"Some of {', '.join(cells.TASKS)}; all without.")
    flags.DEFINE_list("seeds", ["0"], "Training seeds, with commas.")
    flags.DEFINE_string("preset", "cpu", "Preset of every config.")
    launch.run(main)
