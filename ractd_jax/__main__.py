"""``python -m ractd_jax COMMAND --flags``: the programs of the installed package.

  python -m ractd_jax pipeline --preset=hopper_medium_expert:cpu --workdir=runs/demo
  python -m ractd_jax evaluate --checkpoint=runs/demo/ractd --num_episodes=20
  python -m ractd_jax COMMAND --help

--preset=NAME:PRESET is --config with a preset of the package; --config takes a file of
your own.
"""

import importlib
import sys
from pathlib import Path

from ractd_jax import presets

# command -> module of ractd_jax.mains; one of its own name without.
MODULES = {"inspect": "inspect_dataset", "record": "generate_dataset"}
COMMANDS = {
    "pipeline": "records a dataset, trains teacher, reward models and students, "
    "evaluates them and writes a report",
    "record": "records a dataset with the packaged policies",
    "inspect": "says what is odd about a dataset",
    "train": "trains one stage: --stage=teacher, reward, student, ...",
    "play": "plays episodes with a shipped policy, or an exported one",
    "evaluate": "plays episodes with a trained planner",
    "film": "films planners and the data side by side",
    "plan": "plans for given observations",
    "export": "writes a planner as one file that runs elsewhere",
    "sweep": "trains many students as one program",
    "compare": "tables and curves of a few trainings, finished or running",
    "aggregate": "statistics of many trainings",
    "benchmark": "tables over tasks and training seeds",
}
_BY_NAME = Path(presets.__file__).with_name("by_name.py")


def with_config(arguments: list[str]) -> list[str]:
    """`arguments` with each ``--preset=X`` as the ``--config`` that it stands for."""
    found, left = [], iter(arguments)
    for argument in left:
        name, equals, value = argument.partition("=")
        if name in ("--preset", "-preset"):
            value = value if equals else next(left, "")
            argument = f"--config={_BY_NAME}:{value}"
        found.append(argument)
    return found


def usage() -> str:
    """The commands and what they do."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join([__doc__.rstrip(), "", "Commands:", *lines])


def main() -> None:
    command, arguments = (sys.argv[1:2] or ["--help"])[0], sys.argv[2:]
    if command in ("--help", "-h", "help"):
        print(usage())
        return
    if command not in COMMANDS:
        sys.exit(
            f"error: expected a command ({', '.join(COMMANDS)}), found {command!r}; "
            "python -m ractd_jax --help says what they do"
        )
    module = importlib.import_module(f"ractd_jax.mains.{MODULES.get(command, command)}")
    if command != "benchmark":  # its --preset is the preset of every task
        arguments = with_config(arguments)
    sys.argv = [f"{Path(sys.executable).name} -m ractd_jax {command}", *arguments]
    sys.modules["__main__"].__doc__ = module.__doc__
    module.run()


if __name__ == "__main__":
    main()
