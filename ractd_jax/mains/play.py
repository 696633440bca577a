"""Plays episodes with a trained planner that is shipped, or with an exported policy.

  python -m ractd_jax play --policy=hopper-medium-expert
  python -m ractd_jax play --policy=policy.zip --num_episodes=20 --video=0

Prints the policy's card, the score of these episodes, and writes films of the first
ones into --output.
"""

import json
from pathlib import Path

from absl import flags

from ractd_jax.evaluation.rollout import evaluate_planner
from ractd_jax.evaluation.video import Film, choose_renderer, write_videos
from ractd_jax.files import check_writable
from ractd_jax.mains import flag_kinds, launch
from ractd_jax.policy import find_policy, load_policy
from ractd_jax.reports.statistics import summarize
from ractd_jax.settings import Environment

FLAGS = flags.FLAGS


def main():
    if FLAGS.video:
        choose_renderer()
    policy = load_policy(find_policy(FLAGS.policy))
    path = Path(FLAGS.output) / policy.metadata["task"]
    check_writable(path)
    environment = Environment(**policy.metadata["settings"]["environment"])
    count = FLAGS.num_episodes
    film = Film(min(FLAGS.video, count)) if FLAGS.video else None
    found = evaluate_planner(policy, environment, count, FLAGS.seed, film=film)
    summary = {"card": policy.metadata.get("card"), **summarize(found, environment)}
    if film is not None:
        videos = write_videos(film, environment, found.seeds, path)
        summary["videos"] = [str(video) for video in videos]
    print(json.dumps(summary, indent=2))


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    flags.DEFINE_string(
        "policy", None, "Name of a shipped policy, or an exported file.", required=True
    )
    flags.DEFINE_integer("num_episodes", 10, "Episodes to play.", lower_bound=1)
    flag_kinds.define_seed("seed", 0, "First reset's seed.")
    flags.DEFINE_integer("video", 1, "Films of the first episodes.", lower_bound=0)
    flag_kinds.define_path("output", ".", "Folder of the films.")
    launch.run(main)
