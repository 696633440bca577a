"""Load time and resident memory of a large dataset, per source, as JSON.

  python -m benchmarks.load_data --output=docs/results/load_data.json

Writes made-up transitions of Walker2d's sizes (17 + 6) as a D4RL file (float32 and
float64, the latter converted on the way) and as a Minari dataset into a temporary
folder, then loads each in a fresh process. "resident" is what the process holds
once the dataset, its window index and, in the end, its copy on the device are there,
over what it held before; "peak" the most it ever held over that. Both are given as
multiples of the float32 bytes of the observations, actions and rewards. Linux only.
"""

import json
import multiprocessing
import os
import tempfile
import threading
import time
from pathlib import Path

import h5py
import numpy as np
from absl import app, flags

from ractd_jax.files import write_json

FLAGS = flags.FLAGS
flags.DEFINE_integer("num_transitions", 2_000_000, "Transitions.", lower_bound=1000)
flags.DEFINE_string("output", None, "JSON file to write.")

_OBSERVATION, _ACTION, _EPISODE = 17, 6, 1000


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Peak:
    """The most that this process held while it was entered."""

    def __enter__(self):
        self.bytes, self._done = resident_bytes(), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self):
        while not self._done.wait(0.002):
            self.bytes = max(self.bytes, resident_bytes())

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()


def write_hdf5(path: Path, size: int, dtype) -> None:
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for name, shape in {
            "observations": (size, _OBSERVATION),
            "actions": (size, _ACTION),
            "rewards": (size,),
        }.items():
            stored = file.create_dataset(name, shape, dtype)
            for start in range(0, size, 100_000):
                stop = min(start + 100_000, size)
                stored[start:stop] = rng.uniform(-1, 1, (stop - start, *shape[1:]))
        file["terminals"] = np.zeros(size, bool)
        file["timeouts"] = np.arange(1, size + 1) % _EPISODE == 0


def write_minari(root: Path, size: int) -> None:
    from ractd_jax.data.recorded import RecordedEpisode
    from ractd_jax.recording.minari_writer import save_minari

    rng = np.random.default_rng(0)
    episodes = [
        RecordedEpisode(
            rng.uniform(-1, 1, (_EPISODE + 1, _OBSERVATION)).astype(np.float32),
            rng.uniform(-1, 1, (_EPISODE, _ACTION)).astype(np.float32),
            rng.uniform(-1, 1, _EPISODE).astype(np.float32),
            False,
            True,
            seed,
        )
        for seed in range(size // _EPISODE)
    ]
    save_minari(
        "ractd/benchmark/big-v0",
        episodes,
        "Walker2d-v5",
        str(root),
        algorithm="none",
        description="made up",
    )


def measure(dataset: dict, queue) -> None:
    """Loads `dataset` in this fresh process and reports."""
    import jax

    from ractd_jax.data.sources import load_dataset
    from ractd_jax.settings import from_mapping
    from ractd_jax.training import parallel
    from ractd_jax.training.stages.base import plan_data

    parallel.replicate(np.zeros(8)).block_until_ready()
    before = resident_bytes()
    settings = from_mapping({"dataset": dataset})
    with Peak() as peak:
        begin = time.perf_counter()
        loaded = load_dataset(settings)
        seconds = time.perf_counter() - begin
    episodes = loaded.episodes
    arrays = (episodes.observations, episodes.actions, episodes.rewards)
    unit = sum(array.nbytes for array in arrays)
    found = {
        "seconds": seconds,
        "float32_MB": unit / 1e6,
        "resident": (resident_bytes() - before) / unit,
        "peak": (peak.bytes - before) / unit,
    }
    data = plan_data(settings, loaded)
    found["resident_with_windows"] = (resident_bytes() - before) / unit
    placed = jax.block_until_ready(parallel.replicate(data))
    found["resident_with_device_copy"] = (resident_bytes() - before) / unit
    found["devices"] = [str(device) for device in jax.local_devices()]
    del placed
    queue.put(found)


def main(_):
    spawn = multiprocessing.get_context("spawn")
    results = {"transitions": FLAGS.num_transitions, "cores": os.cpu_count()}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        size = FLAGS.num_transitions
        write_hdf5(folder / "float32.hdf5", size, np.float32)
        write_hdf5(folder / "float64.hdf5", size, np.float64)
        write_minari(folder, size)
        for name, dataset in {
            "D4RL HDF5, float32": {"path": str(folder / "float32.hdf5")},
            "D4RL HDF5, float64": {"path": str(folder / "float64.hdf5")},
            "Minari": {"id": "ractd/benchmark/big-v0", "root": str(folder)},
        }.items():
            source = "d4rl" if "path" in dataset else "minari"
            queue = spawn.Queue()
            job = spawn.Process(
                target=measure, args=({**dataset, "source": source}, queue)
            )
            job.start()
            results[name] = queue.get()
            job.join()
    print(json.dumps(results, indent=2))
    if FLAGS.output:
        write_json(Path(FLAGS.output), results)


if __name__ == "__main__":
    app.run(main)
