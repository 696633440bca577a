"""Inspection of any values and structures, its picture and its main."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ractd_jax.data.d4rl_hdf5 import load_d4rl_hdf5, save_d4rl_hdf5
from ractd_jax.data.recorded import RecordedEpisode
from ractd_jax.inspection import checks as checks
from ractd_jax.inspection import jumps
from ractd_jax.inspection.report import draw_inspection, format_inspection
from tests.conftest import CONFIG, run_main
from tests.inspection_toys import (
    CLEAN,
    EVERYTHING,
    FAULTS,
    clean,
    look,
    make_episodes,
    structures,
)

KITCHEN = Path(__file__).parents[2] / "shared/data/kitchen-complete-v0.hdf5"


any_floats = st.sampled_from([0.0, -0.0, 1.0, -2.5, 3e38, np.nan, np.inf, -np.inf])


@given(structures, st.lists(any_floats, min_size=1, max_size=9))
@settings(max_examples=60)
@pytest.mark.filterwarnings("error")
def test_any_values_give_a_report(structure, values):
    """Whatever the values are, JSON stays strict, without a numpy warning."""
    whole = make_episodes(structure)
    filled = {
        name: np.resize(np.array(values, np.float32), getattr(whole, name).shape)
        for name in ("observations", "actions", "rewards")
    }
    found = look(dataclasses.replace(whole, **filled), score_min=0.0, score_max=1.0)
    plain = found.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert format_inspection(found).count("Verdict: ") == 1


@pytest.mark.parametrize("name", FAULTS)
def test_blocks_change_nothing(name, monkeypatch):
    episodes, _ = FAULTS[name]
    whole = look(episodes)
    monkeypatch.setattr(checks, "_BLOCK", 7)
    monkeypatch.setattr(jumps, "_BLOCK", 7)
    assert look(episodes) == whole


def test_many_constant_dimensions_are_listed_as_ranges():
    episodes = make_episodes(CLEAN)
    wide = np.repeat(episodes.observations, 3, axis=1)
    wide[:, [1, 2, 3, 4, 9]] = 2.0
    report = format_inspection(look(dataclasses.replace(episodes, observations=wide)))
    assert "| constant observation dimensions | 5: 1-4, 9 |" in report
    wide = wide[:, :3]
    report = format_inspection(look(dataclasses.replace(episodes, observations=wide)))
    assert "dimensions | 1 (always 2), 2 (always 2) |" in report


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000


@pytest.mark.filterwarnings("error")
def test_picture(tmp_path):
    """Clean data; all NaN; and a maze with positions outside of it."""
    path = tmp_path / "a.png"
    draw_inspection(
        path, make_episodes(CLEAN), title="$a_", score_min=0.0, score_max=100.0
    )
    assert is_png(path)
    nothing = [(EVERYTHING, np.nan)]
    draw_inspection(path, clean(observations=nothing, actions=nothing, rewards=nothing))
    assert is_png(path)
    walls = np.pad(np.zeros((1, 3), bool), 1, constant_values=True)
    with pytest.raises(ValueError, match="extent"):
        draw_inspection(path, make_episodes(CLEAN), walls=walls)
    for scale in (1.0, 1e9):
        maze = make_episodes(CLEAN)
        maze.observations[:] *= scale
        draw_inspection(path, maze, walls=walls, extent=(-2.5, 2.5, -1.5, 1.5))
        assert is_png(path)


@pytest.fixture
def hdf5(tmp_path):
    """A small D4RL file; one of its episodes leaves the actions' bounds."""
    clean = make_episodes([(40 + i, i % 2 == 0, i % 2 == 1) for i in range(6)])
    episodes = []
    for start, stop in zip(clean.starts[:-1], clean.starts[1:], strict=True):
        rows = np.append(np.arange(start, stop), stop - 1)
        terminated = bool(clean.terminals[stop - 1])
        episodes.append(
            RecordedEpisode(
                clean.observations[rows],
                clean.actions[start:stop],
                clean.rewards[start:stop],
                terminated,
                not terminated,
                0,
            )
        )
    episodes[2].actions[5, 1] = 1.25
    path = tmp_path / "data.hdf5"
    save_d4rl_hdf5(path, episodes, {})
    return path


def inspect_file(path: Path, *options: str, check: bool = True):
    return run_main(
        "inspect_dataset",
        f"--config={CONFIG}",
        "--config.dataset.source=d4rl",
        "--config.environment.id=Hopper-v5",
        f"--config.dataset.path={path}",
        *options,
        check=check,
    )


def test_main_prints_and_writes(hdf5):
    """Exit code 0 with a warning; text, JSON and picture agree with the file."""
    folder = hdf5.parent / "out"
    printed = inspect_file(hdf5, f"--output={folder}").stdout
    assert sorted(p.name for p in folder.iterdir()) == [
        f"inspection.{ending}" for ending in ("json", "md", "png")
    ]
    assert "6 episodes, 255 transitions; dimensions: observations 4" in printed
    assert "Verdict: 1 thing to look at." in printed
    assert "by 0.25 at worst (transition 86, dimension 1)" in printed
    assert (folder / "inspection.md").read_text() in printed
    assert is_png(folder / "inspection.png")
    found = json.loads((folder / "inspection.json").read_text())
    assert found["windows"] == {"repeat_last": 255, "drop": 255 - 6 * 4}
    assert found["limit"] == 1000
    assert found["endings"]["terminal"] == found["endings"]["timeout"] == 3


def test_main_names_bad_input(hdf5):
    """A damaged file, or a file where the output folder should be: one line each."""
    taken = inspect_file(hdf5, f"--output={hdf5}", "--action_high=1.3", check=False)
    assert taken.returncode == 1
    assert taken.stderr.strip().splitlines()[-1].startswith(f"error: --output={hdf5}")
    assert "Verdict: no problems found." in taken.stdout
    hdf5.write_bytes(hdf5.read_bytes()[:-1])
    broken = inspect_file(hdf5, f"--workdir={hdf5.parent}", check=False)
    assert broken.returncode == 1
    assert broken.stderr.strip().splitlines() == [broken.stderr.strip()]
    assert broken.stderr.startswith(f"error: {hdf5}: expected a whole HDF5 file")
    assert broken.stdout == ""


@pytest.mark.skipif(not KITCHEN.exists(), reason=f"{KITCHEN} is not there")
def test_official_kitchen_file():
    """Goals apart, nothing is odd about it, and lost endings would be seen."""
    episodes, _ = load_d4rl_hdf5(KITCHEN)
    found = look(episodes)
    (goals,) = found.warnings
    assert "observation dimensions 30, 31, 32, 33, 34 and 25 more are const" in goals
    assert (found.num_episodes, found.endings.terminal) == (19, 19)
    assert list(found.constant_observations) == list(range(30, 60))
    merged = dataclasses.replace(episodes, starts=episodes.starts[[0, -1]])
    assert look(merged).jumps.count == 18
