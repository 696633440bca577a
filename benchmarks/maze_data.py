"""Seconds to record and to write one maze's dataset, as one JSON.

python -m benchmarks.maze_data --maze=large --num_transitions=1000000
"""

import json
import os
import tempfile
import time

from absl import app, flags

from ractd_jax.data.d4rl_hdf5 import save_d4rl_hdf5
from ractd_jax.recording.minari_writer import save_minari
from ractd_jax.recording.point_maze import KINDS, record_maze, recording_spec

FLAGS = flags.FLAGS
flags.DEFINE_enum("maze", "umaze", list(KINDS), "Which maze, such as large-d4rl.")
flags.DEFINE_integer("num_transitions", 1_000_000, "Transitions.", lower_bound=1)
flags.DEFINE_integer("num_workers", None, "Processes; default: one per core.")


def main(_):
    marks = [time.perf_counter()]
    episodes = list(
        record_maze(FLAGS.maze, FLAGS.num_transitions, 0, FLAGS.num_workers)
    )
    marks.append(time.perf_counter())
    with tempfile.TemporaryDirectory() as root:
        spec, about = recording_spec(FLAGS.maze), {"algorithm": "", "description": ""}
        save_minari("benchmark/maze-v0", episodes, spec, root, **about)
        marks.append(time.perf_counter())
        save_d4rl_hdf5(os.path.join(root, "maze.hdf5"), episodes, {})
        marks.append(time.perf_counter())
    seconds = [
        round(end - begin, 2) for begin, end in zip(marks, marks[1:], strict=False)
    ]
    found = {
        "maze": FLAGS.maze,
        "transitions": FLAGS.num_transitions,
        "workers": FLAGS.num_workers or os.cpu_count(),
        "goals_reached": int(sum(episode.rewards.sum() for episode in episodes)),
        "seconds": dict(zip(("record", "minari", "hdf5"), seconds, strict=True)),
        "recorded_per_s": round(FLAGS.num_transitions / seconds[0]),
        "load_average": os.getloadavg()[0],
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    app.run(main)
