"""Students over reward weight x reward model x reward input, and their table.

  python -m experiments.reward_table --config=configs/hopper_medium_expert.py \
      --teacher=runs/demo/teacher --reward=runs/demo/reward --workdir=runs/table \
      --output=docs/results/reward_table --jobs=2

Each cell is one train_student and one evaluate process; with several jobs on Linux
each is pinned to its own share of the cores. Restartable: finished cells are kept.
Config overrides (--config.x.y=) apply to every cell.
"""

import concurrent.futures
import itertools
import json
import os
import queue
import subprocess
import sys
from pathlib import Path

from absl import flags, logging

from experiments import launch
from ractd_jax.files import write_json

FLAGS = flags.FLAGS
# Name -> (members, pessimism); None is the config's own.
_MEMBERS = {"one": (1, 0.0), "ensemble": (None, None)}


def cells() -> list[tuple[str, float, str, str]]:
    """(label, weight, reward model, reward input); weight 0 is one run, CTD."""
    weights = [float(weight) for weight in FLAGS.weights]
    grid = itertools.product(FLAGS.reward_inputs, FLAGS.reward_models, weights)
    found = [("ctd", 0.0, "-", "-")] if 0.0 in weights else []
    return found + [
        (f"{kind}_{members}_{weight:g}", weight, members, kind)
        for kind, members, weight in grid
        if weight
    ]


def run_cell(label, weight, members, kind, cores) -> dict:
    """Trains and evaluates one student unless that is done; returns its row."""
    folder = Path(FLAGS.workdir) / label
    overrides = [f"--config.student.reward_weight={weight}"]
    if weight:
        number, pessimism = _MEMBERS[members]
        overrides += [
            f"--config.student.reward_input={kind}",
            f"--config.student.num_members={number}",
        ]
        if pessimism is not None:
            overrides.append(f"--config.student.pessimism={pessimism}")
    shared = [arg for arg in sys.argv[1:] if arg.startswith("--config")]
    paths = [f"--teacher={FLAGS.teacher}", f"--reward={FLAGS.reward}"]
    _run(
        ["train_student", *shared, *overrides, *paths, f"--workdir={folder}"],
        folder,
        cores,
    )
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    config = json.loads((folder / "config.json").read_text())
    if last["step"] < config["student"]["num_steps"]:
        raise RuntimeError(f"{folder}: the training was stopped; run this again")
    results = sorted((folder / "evaluation").glob("student_1steps.json"))
    if not results:
        episodes = f"--num_episodes={FLAGS.num_episodes}"
        _run(["evaluate", f"--checkpoint={folder}", episodes], folder, cores)
    summary = json.loads((folder / "evaluation/student_1steps.json").read_text())
    logging.info("%s: score %.1f", label, summary["score_mean"])
    reward = {k: v for k, v in last.items() if k.startswith("reward/")}
    return {"weight": weight, "members": members, "input": kind, **summary, **reward}


def _run(arguments, folder: Path, cores) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pin = (lambda: os.sched_setaffinity(0, cores)) if cores else None
    with open(folder / "log.txt", "a") as log:
        done = subprocess.run(
            [sys.executable, "-m", f"experiments.{arguments[0]}", *arguments[1:]],
            stdout=log,
            stderr=log,
            preexec_fn=pin,
        )
    if done.returncode:
        raise RuntimeError(f"{arguments[0]} failed: see {folder / 'log.txt'}")


def core_shares(jobs: int) -> list[set[int]]:
    """One set of cores per job; empty sets where pinning makes no sense."""
    if jobs == 1 or not hasattr(os, "sched_setaffinity"):
        return [set()] * jobs
    cores = sorted(os.sched_getaffinity(0))
    return [set(cores[job::jobs]) or set(cores) for job in range(jobs)]


def format_rows(rows: list[dict]) -> str:
    """Markdown: a line per reward input and model, a column per weight."""
    weights = sorted({row["weight"] for row in rows if row["weight"]})
    ctd = [row for row in rows if not row["weight"]]
    lines = [
        "| reward input | reward model | 0 | " + " | ".join(f"{w:g}" for w in weights)
    ]
    lines = [lines[0] + " |", "|---" * (3 + len(weights)) + "|"]
    groups = dict.fromkeys((r["input"], r["members"]) for r in rows if r["weight"])
    for kind, members in groups:
        line = [kind, members, _cell(ctd)]
        for weight in weights:
            key = (kind, members, weight)
            line.append(
                _cell(
                    [r for r in rows if (r["input"], r["members"], r["weight"]) == key]
                )
            )
        lines.append("| " + " | ".join(line) + " |")
    return "\n".join(lines) + "\n"


def _cell(rows: list[dict]) -> str:
    if not rows:
        return "-"
    low, high = rows[0]["score_interval_95"]
    return f"{rows[0]['score_mean']:.1f} ({low:.0f}..{high:.0f})"


def main():
    free = queue.SimpleQueue()
    for share in core_shares(FLAGS.jobs):
        free.put(share)

    def job(cell):
        share = free.get()
        try:
            return run_cell(*cell, share)
        finally:
            free.put(share)

    order, rows = cells(), {}
    with concurrent.futures.ThreadPoolExecutor(FLAGS.jobs) as pool:
        waiting = {pool.submit(job, cell): cell[0] for cell in order}
        for done in concurrent.futures.as_completed(waiting):
            rows[waiting[done]] = done.result()
            # Written after each cell: what is there survives an interruption.
            save([rows[cell[0]] for cell in order if cell[0] in rows])
    print(format_rows(list(rows.values())))


def save(rows: list[dict]) -> None:
    output = Path(FLAGS.output)
    write_json(output.with_suffix(".json"), rows)
    output.with_suffix(".md").write_text(format_rows(rows))


if __name__ == "__main__":
    launch.define_config_flags()
    flags.DEFINE_string("teacher", None, "Workdir of train_teacher.", required=True)
    flags.DEFINE_string("reward", None, "Workdir of train_reward.", required=True)
    flags.DEFINE_string(
        "output", None, "Table to write, without suffix.", required=True
    )
    flags.DEFINE_list("weights", ["0", "0.25", "0.5", "1", "2"], "Reward weights.")
    flags.DEFINE_list("reward_inputs", ["dsm", "one_step"], "Reward inputs.")
    flags.DEFINE_list("reward_models", ["ensemble", "one"], "one or ensemble.")
    flags.DEFINE_integer("num_episodes", 50, "Episodes of each evaluation.")
    flags.DEFINE_integer("jobs", 1, "Students to train at a time.", lower_bound=1)
    launch.run(main)
