"""Wrong flags and fields of every main, made up from a seed and tried in forks.

``python -m tests.fuzz_flags SEED COUNT FOLDER`` prints a JSON list: for each case its
main, its flags, the flag that was made wrong, the exit code and what went to stderr.
What a main may read or write lies in FOLDER, which is the working folder.
"""

import importlib
import json
import os
import random
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

from absl import flags

from ractd_jax.mains import launch
from ractd_jax.settings import Settings
from ractd_jax.settings.options import described_tree
from tests.mains import ROOT

CONFIG = f"--config={ROOT}/configs/any_dataset.py:smoke"
NO_DATA = ("--config.dataset.source=d4rl", "--config.dataset.path=none.hdf5")
TRAINING = (CONFIG, *NO_DATA, "--workdir=new")
# Each would start, and stops at the latest where it looks for what is not there. Where
# a wrong flag could mean all that there is, two things are not there.
MAINS = {
    "aggregate": ("--results=none", "--output=new/table"),
    "benchmark": ("--workdir=new", "--tasks=none", "--results=file/x"),
    "compare": ("none",),
    "combinations": ("--task=maze", "--maze=none", "--workdir=new", "--results=file"),
    "evaluate": ("--checkpoint=none",),
    "export": ("--checkpoint=none", "--output=new/policy.zip"),
    "film": ("--planners=none", "--output=new/film.gif"),
    "generate_dataset": ("--task=none", "--root=new"),
    "inspect_dataset": (CONFIG, *NO_DATA, "--output=new"),
    "maze_pictures": ("--workdir=none", "--output=new/picture"),
    "maze_table": ("--maze=none", "--workdir=new", "--output=file/x"),
    "pipeline": TRAINING,
    "plan": ("--checkpoint=none", "--observations=[0]", "--output=new/plans.npy"),
    "play": ("--policy=none",),
    "rate_behaviour": ("--path=none.npz",),
    "rate_critics": ("--workdir=new", "--tasks=none", "--results=file/x"),
    "reward_table": (*TRAINING, "--teacher=none", "--reward=none", "--output=file/x"),
    "ship_policies": ("--workdir=none", "--results=none", "--output=file/x"),
    "sweep": TRAINING,
    "train": (*TRAINING, "--stage=teacher"),
    "train_behaviour": ("--workdir=new", "--output=file/x"),
    "train_reward": TRAINING,
    "train_student": (*TRAINING, "--teacher=none"),
    "train_teacher": TRAINING,
    "train_team": ("--teams=none", "--output=file/x"),
}
FIELDS = [name for name, _ in described_tree(Settings())]
NUMBERS = ["", "abc", "-1", "nan", "-inf", "1e400", "0x", "1,2", "None", "９.５e", "{}"]
PATHS = ["", "gs://b/run", "s3:/b", "hdfs://x", "~nobody-here/run", "file/below", "\0"]
WORDS = ["", "none-such", "Teacher", "🙂", "a b", "-", "None"]
FIELD_VALUES = [*NUMBERS, *PATHS, *WORDS, "[", "(1,", "'", "__import__('os')", "\\n"]


def wrong_argument(rng: random.Random, defined: dict[str, str]) -> str:
    """A flag or field with a value that somebody might give it by mistake."""
    kind = rng.random()
    if kind < 0.1:
        name = list(rng.choice(sorted(defined)))
        name.insert(rng.randrange(len(name) + 1), rng.choice("xq_-9"))
        return f"--{''.join(name)}={rng.choice(WORDS)}"
    if "config" in defined and kind < 0.6:
        name = rng.choice(FIELDS)
        if rng.random() < 0.3:
            name += rng.choice(["x", ".x", "[0]", "..", ".optimizer.lr"])
        return f"--{name}={rng.choice(FIELD_VALUES)}"
    if kind < 0.65:
        return rng.choice(["stray", "--", "-x", "--=", "=", "--config"])
    name = rng.choice(sorted(defined))
    values = {"PathParser": PATHS, "IntegerParser": NUMBERS, "FloatParser": NUMBERS}
    return f"--{name}={rng.choice(values.get(defined[name], [*WORDS, *NUMBERS]))}"


def define_flags(main: str) -> tuple[dict[str, str], tuple[Callable, str]]:
    """Defines the flags of a main: their names and kinds, and what launch.run gets."""
    held, before, run_main = [], set(flags.FLAGS), launch.run
    sys.modules.pop(f"experiments.{main}", None)
    launch.run = lambda function, takes="": held.append((function, takes))
    runpy.run_module(f"experiments.{main}", run_name="__main__")
    launch.run = run_main
    ours = set(flags.FLAGS) - before
    return {n: type(flags.FLAGS[n].parser).__name__.lstrip("_") for n in ours}, held[0]


def in_fork(work) -> tuple[int, str]:
    """Exit code and stderr of `work()`, in a process of its own."""
    path = Path(f"stderr.{os.getpid()}")
    sys.stderr.flush()
    if (child := os.fork()) == 0:
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, 2)
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)
        code = 3
        try:
            work()
            code = 0
        except SystemExit as stopped:
            if isinstance(stopped.code, str):
                print(stopped.code, file=sys.stderr)
            code = stopped.code if isinstance(stopped.code, int) else 1
        except BaseException:
            import traceback

            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    text = path.read_text(errors="replace")
    path.unlink()
    return code, text


def cases_of(main: str, seed: int, count: int) -> None:
    """Writes MAIN.json, with `count` cases of a main."""
    (defined, started), cases = define_flags(main), []
    rng = random.Random(f"{seed} {main}")
    for _ in range(count):
        wrong = wrong_argument(rng, defined)
        given = [*MAINS[main], wrong]
        sys.argv = [main, *given]
        code, text = in_fork(lambda: launch.run(*started))
        cases.append([main, given, wrong, code, text])
    Path(f"{main}.json").write_text(json.dumps(cases))


def run(seed: int, count: int) -> list:
    """All cases, about `count` of them."""
    share, cases = -(-count // len(MAINS)), []
    for main in MAINS:
        code, text = in_fork(lambda main=main: cases_of(main, seed, share))
        if code:
            raise RuntimeError(f"{main}: {text}")
        path = Path(f"{main}.json")
        cases += json.loads(path.read_text())
        path.unlink()
    return cases


if __name__ == "__main__":
    for name in MAINS:
        importlib.import_module(f"experiments.{name}")
    seed, count, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    os.chdir(folder)
    Path("file").write_text("no folder")
    print(json.dumps(run(seed, count)))
