"""The same four episodes in the layouts of other libraries, written without them."""

import json

import h5py
import numpy as np

from ractd_jax.data.episodes import Episodes
from ractd_jax.data.readers import read_source
from ractd_jax.settings import from_mapping

LENGTHS = (5, 1, 3, 7)
SIZE = sum(LENGTHS)
LAST = np.cumsum(LENGTHS) - 1
STARTS = [0, *(LAST + 1).tolist()]
# The second and the fourth were stopped by a time limit.
TERMINATED = (True, False, True, False)

_rng = np.random.default_rng(11)
OBSERVATIONS = _rng.normal(size=(SIZE, 4))
ACTIONS = _rng.uniform(-1, 1, (SIZE, 2))
REWARDS = _rng.normal(size=SIZE)
TERMINALS = np.zeros(SIZE, bool)
TERMINALS[LAST[list(TERMINATED)]] = True
ENDS = np.isin(np.arange(SIZE), LAST)


def read(source: str, path, **options):
    """(episodes, origin) by the reader of a source."""
    given = {"source": source, "path": str(path), **options}
    dataset = from_mapping({"dataset": given}).dataset
    return read_source(dataset, "auto")[1:]


def assert_episodes(
    episodes: Episodes,
    *,
    rewards=REWARDS,
    terminals=TERMINALS,
    timeouts=ENDS & ~TERMINALS,
    observations=OBSERVATIONS,
) -> None:
    """The four episodes, bit by bit in float32."""
    assert episodes.starts.tolist() == STARTS
    expected = {"observations": observations, "actions": ACTIONS, "rewards": rewards}
    for name, values in expected.items():
        found = getattr(episodes, name)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, np.float32(values))
    np.testing.assert_array_equal(episodes.terminals, terminals)
    np.testing.assert_array_equal(episodes.timeouts, timeouts)
    assert episodes.terminals.dtype == episodes.timeouts.dtype == bool


def parts(values: np.ndarray) -> list[np.ndarray]:
    """`values` [N, ...] of each episode."""
    return np.split(values, STARTS[1:-1])


def save_hdf5(path, arrays: dict, attributes: dict | None = None) -> None:
    """Arrays by their place in the file, and (group, name) -> attribute."""
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
        for (group, name), value in (attributes or {}).items():
            file[group].attrs[name] = value


def ogbench_arrays() -> dict[str, np.ndarray]:
    """A goal-conditioned set: no rewards, and fields that nobody here reads."""
    return {
        "observations": np.float32(OBSERVATIONS),
        "actions": np.float32(ACTIONS),
        "terminals": ENDS.copy(),
        "qpos": np.zeros((SIZE, 9), np.float32),
    }


def d3rlpy_arrays() -> dict:
    """The dump of a ReplayBuffer."""
    arrays = {
        "columns": np.array([b"observations", b"actions", b"rewards", b"terminated"]),
        "num_episodes": len(LENGTHS),
        "version": "2.1",
    }
    for episode, (observations, actions, rewards) in enumerate(
        zip(parts(OBSERVATIONS), parts(ACTIONS), parts(REWARDS), strict=True)
    ):
        arrays[f"observations_{episode}"] = observations
        arrays[f"actions_{episode}"] = actions
        arrays[f"rewards_{episode}"] = rewards[:, None]
        arrays[f"terminated_{episode}"] = TERMINATED[episode]
    return arrays


def mdp_dataset_arrays() -> dict:
    """The dump of an MDPDataset of d3rlpy 1."""
    return {
        "observations": np.float32(OBSERVATIONS),
        "actions": np.float32(ACTIONS),
        "rewards": np.float32(REWARDS),
        "terminals": np.float32(TERMINALS),
        "episode_terminals": np.float32(ENDS),
        "discrete_action": False,
        "create_mask": False,
        "mask_size": 1,
    }


def robomimic_arrays() -> dict:
    """Demonstrations 0, 1, 2 and 10; observations are two vectors and a picture."""
    arrays = {}
    for demo, observations, actions, rewards, dones in zip(
        (0, 1, 2, 10),
        *map(parts, (OBSERVATIONS, ACTIONS, REWARDS, TERMINALS)),
        strict=True,
    ):
        group = f"data/demo_{demo}"
        arrays[f"{group}/obs/hand"] = observations[:, 1:]
        arrays[f"{group}/obs/gripper"] = observations[:, 0]
        arrays[f"{group}/obs/front_image"] = np.zeros((len(actions), 6, 6, 3), np.uint8)
        arrays[f"{group}/actions"] = actions
        arrays[f"{group}/rewards"] = rewards
        arrays[f"{group}/dones"] = np.int64(dones)
        arrays[f"{group}/states"] = np.zeros((len(actions), 0))
    arrays["mask/train"] = np.array([b"demo_10", b"demo_0"])
    arrays["mask/valid"] = np.array([b"demo_1", b"demo_2"])
    return arrays


def lerobot_columns() -> dict[str, np.ndarray]:
    """Frames of all episodes, with what LeRobot's simulated sets say of each."""
    episode = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    frame = np.concatenate([np.arange(length) for length in LENGTHS])
    return {
        "observation.state": np.float32(OBSERVATIONS[:, 1:]),
        "observation.grip": np.float32(OBSERVATIONS[:, 0]),
        "action": np.float32(ACTIONS),
        "timestamp": np.float32(frame / 10),
        "frame_index": frame,
        "episode_index": episode,
        "index": np.arange(SIZE),
        "next.reward": np.float32(REWARDS),
        "next.done": ENDS.copy(),
        "next.success": TERMINALS.copy(),
    }


def lerobot_info(columns: dict[str, np.ndarray]) -> dict:
    features = {
        name: {"dtype": str(values.dtype), "shape": list(values.shape[1:]) or [1]}
        for name, values in columns.items()
    }
    picture = {"dtype": "video", "shape": [3, 96, 96]}
    return {
        "codebase_version": "v3.0",
        "total_episodes": len(LENGTHS),
        "total_frames": SIZE,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "features": {**features, "observation.images.top": picture},
    }


def save_lerobot(folder, columns: dict, *, files: int = 2, **changes) -> None:
    """Parquet files of equal shares of the frames, and the dataset's info.

    Args:
      folder: of the dataset.
      columns: [N] numbers, [N, K] vectors, or pyarrow arrays.
      files: parquet files.
      **changes: of the info.
    """
    import pyarrow
    from pyarrow import parquet

    data = folder / "data/chunk-000"
    data.mkdir(parents=True)
    (folder / "meta").mkdir()
    arrays = {}
    for name, values in columns.items():
        if getattr(values, "ndim", 0) == 2:
            flat = pyarrow.array(values.ravel())
            values = pyarrow.FixedSizeListArray.from_arrays(flat, values.shape[1])
        arrays[name] = values
    table = pyarrow.table(arrays)
    share = -(-len(table) // files)
    for number in range(files):
        part = table.slice(number * share, share)
        parquet.write_table(part, data / f"file-{number:03d}.parquet")
    numbers = {name: v for name, v in columns.items() if isinstance(v, np.ndarray)}
    info = {**lerobot_info(numbers), **changes}
    (folder / "meta/info.json").write_text(json.dumps(info))
