"""Foreign agents on our data and in our evaluator; benchmarks/foreign.md says how.

  python -m benchmarks.foreign --config=configs/hopper_medium_expert.py \
      --export=hopper.npz
  python -m benchmarks.foreign --config=configs/hopper_medium_expert.py \
      --agent=my_agent:load --checkpoint=CHECKPOINT --output=agent.json

The first writes the transitions that critics learn from here. The second evaluates
``my_agent.load(CHECKPOINT)``, a function of observations [n, O] that gives actions
[n, A], both in the environment's units, in the episodes that planners are evaluated in.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import flags

from ractd_jax.data.episodes import Episodes
from ractd_jax.data.sources import load_resolved
from ractd_jax.errors import ConfigError
from ractd_jax.evaluation.results import save_arrays
from ractd_jax.evaluation.rollout import run_episodes
from ractd_jax.files import write_json
from ractd_jax.machine import machine
from ractd_jax.mains import launch
from ractd_jax.pipelines.trainings import prepare_dataset
from ractd_jax.reports.statistics import summarize
from ractd_jax.settings import Settings
from ractd_jax.training.stages import dimensions
from ractd_jax.training.stages.critic import transition_rows

FLAGS = flags.FLAGS


def transitions(episodes: Episodes) -> dict[str, np.ndarray]:
    """The arrays that offline agents read, one row for each transition.

    ``masks`` is 0 after a fall and 1 otherwise, what a bootstrapped value is multiplied
    with; ``terminals`` is 1 at the last transition of each episode, however it ended.
    The last step of a cut-off episode has no next observation and is left out.
    """
    rows = transition_rows(episodes, np.arange(episodes.num_transitions))
    episode = np.searchsorted(episodes.starts, rows, side="right")
    last = np.append(episode[1:] != episode[:-1], True)
    following = (rows + 1).clip(max=episodes.num_transitions - 1)
    return {
        "observations": episodes.observations[rows],
        "actions": episodes.actions[rows],
        "rewards": episodes.rewards[rows],
        "next_observations": episodes.observations[following],
        "masks": 1.0 - episodes.terminals[rows].astype(np.float32),
        "terminals": last.astype(np.float32),
    }


class ForeignPolicy:
    """A function of observations as the evaluator's policy."""

    compile_seconds = 0.0

    def __init__(self, act: Callable[[np.ndarray], np.ndarray], size: int):
        self._act, self._size = act, size

    def act(self, observations, episodes, step) -> np.ndarray:
        """Raises ValueError for actions of another shape."""
        del step
        actions = np.asarray(self._act(observations[:, -1]), np.float32)
        if actions.shape != (len(episodes), self._size):
            raise ValueError(
                f"--agent: expected actions of shape [{len(episodes)}, {self._size}], "
                f"found {list(actions.shape)}"
            )
        return actions


def evaluate(settings: Settings, dims, act) -> dict:
    """Scores of a function of observations, over the config's episodes."""
    options = settings.evaluation
    results = run_episodes(
        ForeignPolicy(act, dims.action),
        dims,
        settings.environment,
        options.seed + np.arange(options.num_episodes),
    )
    return summarize(results, settings.environment) | {"about": machine()}


def load_agent(name: str, checkpoint: str | None):
    """``MODULE:FUNCTION`` called with the checkpoint.

    Raises:
      ConfigError: there is no such function.
    """
    module, _, function = name.partition(":")
    try:
        load = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"--agent: expected MODULE:FUNCTION on the path, found {name!r} ({error})"
        ) from None
    return load(checkpoint)


def main():
    if not (FLAGS.export or FLAGS.agent):
        raise ConfigError("--export or --agent: expected one of them, found neither")
    workdir = Path(FLAGS.workdir or "runs/foreign").absolute()
    settings = prepare_dataset(launch.settings_from_flags(), workdir)
    settings, dataset = load_resolved(settings)
    if FLAGS.export:
        save_arrays(FLAGS.export, transitions(dataset.episodes))
        print(f"{FLAGS.export}: {dataset.name}")
    if FLAGS.agent:
        agent = load_agent(FLAGS.agent, FLAGS.checkpoint)
        found = evaluate(settings, dimensions(settings, dataset), agent)
        print(json.dumps(found, indent=1))
        if FLAGS.output:
            write_json(Path(FLAGS.output), {"agent": FLAGS.agent, **found})


if __name__ == "__main__":
    launch.define_config_flags(required=("config",))
    flags.DEFINE_string("export", None, "npz file to write the transitions to.")
    flags.DEFINE_string("agent", None, "MODULE:FUNCTION that loads an agent.")
    flags.DEFINE_string("checkpoint", None, "What the function is called with.")
    flags.DEFINE_string("output", None, "JSON file for the scores.")
    launch.run(main)
