"""A look at data: each check fires on its fault and only there."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ractd_jax.data.d4rl_hdf5 import load_d4rl_hdf5, save_d4rl_hdf5
from ractd_jax.data.episodes import Episodes
from ractd_jax.data.recorded import RecordedEpisode
from ractd_jax.inspection import checks as checks
from ractd_jax.inspection import jumps
from ractd_jax.inspection.episodes import inspect_episodes
from ractd_jax.inspection.report import draw_inspection, format_inspection
from tests.conftest import CONFIG, run_main

KITCHEN = Path(__file__).parents[2] / "shared/data/kitchen-complete-v0.hdf5"
HORIZON = 8

# Steps of each episode, and the flags of its last step.
structures = st.lists(
    st.tuples(st.integers(1, 12), st.booleans(), st.booleans()), min_size=1, max_size=8
)


def make_episodes(structure, seed: int = 0) -> Episodes:
    """Smooth made-up episodes; `structure` lists (steps, terminal, timeout)."""
    rng = np.random.default_rng(seed)
    lengths = [steps for steps, _, _ in structure]
    total = sum(lengths)
    starts = np.cumsum([0, *lengths]).astype(np.int32)
    terminals, timeouts = np.zeros((2, total), bool)
    terminals[starts[1:] - 1] = [terminal for _, terminal, _ in structure]
    timeouts[starts[1:] - 1] = [timeout for _, _, timeout in structure]
    walk = np.cumsum(rng.normal(size=(total, 4)), axis=0)
    # Each episode starts somewhere else, as after a reset.
    walk += np.repeat(rng.normal(0, 1000, (len(lengths), 4)), lengths, axis=0)
    return Episodes(
        observations=walk.astype(np.float32),
        actions=rng.uniform(-1, 1, (total, 3)).astype(np.float32),
        rewards=rng.normal(1, 0.1, total).astype(np.float32),
        terminals=terminals,
        timeouts=timeouts,
        starts=starts,
    )


# Ten falls of different lengths, five timeouts, and a rest that was cut off.
CLEAN = [(20 + 3 * i, True, False) for i in range(10)] + [(60, False, True)] * 5
CLEAN += [(17, False, False)]


def edit(episodes: Episodes, **changes) -> Episodes:
    """`episodes` with entries set: field -> [(index, value), ...]."""
    arrays = {}
    for field, entries in changes.items():
        arrays[field] = getattr(episodes, field).copy()
        for index, value in entries:
            arrays[field][index] = value
    return dataclasses.replace(episodes, **arrays)


def look(episodes: Episodes, **options):
    return inspect_episodes(episodes, options.pop("horizon", HORIZON), **options)


@pytest.mark.parametrize("seed", range(5))
def test_clean_data_are_silent(seed):
    found = look(make_episodes(CLEAN, seed), score_min=0.0, score_max=100.0)
    assert found.warnings == ()
    assert (found.num_episodes, found.limit, found.beyond_limit) == (16, 60, 0)
    assert "Verdict: no problems found." in format_inspection(found).splitlines()


def repeated(structure_index: int, count: int) -> Episodes:
    """CLEAN data with one episode appended `count` times."""
    clean = make_episodes(CLEAN)
    start, stop = clean.starts[structure_index : structure_index + 2]
    fields = ("observations", "actions", "rewards", "terminals", "timeouts")
    arrays = {}
    for name in fields:
        whole = getattr(clean, name)
        arrays[name] = np.concatenate([whole, *[whole[start:stop]] * count])
    more = clean.starts[-1] + (stop - start) * np.arange(1, count + 1)
    return Episodes(**arrays, starts=np.append(clean.starts, more).astype(np.int32))


def without_endings(structure, kept: int = 0) -> Episodes:
    """Data whose endings were lost, but for the last `kept`."""
    whole = make_episodes(structure)
    starts = np.append(0, whole.starts[len(structure) - kept :]).astype(np.int32)
    none = [(slice(0, starts[1] - 1), False)]
    lost = edit(whole, terminals=none, timeouts=none)
    return dataclasses.replace(lost, starts=starts)


def clean(**changes) -> Episodes:
    return edit(make_episodes(CLEAN), **changes)


EVERYTHING = slice(None)
FAULTS = {
    "nan": (clean(observations=[((3, 1), np.nan)]), "in observations: 1."),
    "infinite reward": (clean(rewards=[(5, np.inf)]), "infinite values in rewards: 1."),
    "outside": (
        clean(actions=[((4, 1), 1.5), ((9, 2), -3.0)]),
        "outside their bounds: 2 (0.1%), by 2 at worst (transition 9, dimension 2)",
    ),
    "saturated": (
        clean(actions=[(slice(0, -20), 1.0)]),
        "of the action values lie at a bound",
    ),
    "constant action": (
        clean(actions=[((EVERYTHING, 2), 0.25)]),
        "Action dimension 2 is always 0.25.",
    ),
    "constant observations": (
        clean(observations=[(EVERYTHING, 7.0)]),
        "Every observation is the same.",
    ),
    "constant reward": (clean(rewards=[(EVERYTHING, 0.5)]), "Every reward is 0.5."),
    "both": (clean(timeouts=[(19, True)]), "terminal and a timeout at once: 1."),
    "early": (clean(terminals=[(7, True)]), "before the last step of an episode: 1."),
    "one step": (
        make_episodes([*CLEAN, (1, True, False)]),
        "Episodes of one step: 1.",
    ),
    "one giant": (
        make_episodes([(300, False, False)]),
        "No step is a terminal or a timeout: the data is one episode of 300 steps.",
    ),
    "same length": (
        make_episodes([(50, True, False)] * 4),
        "Every episode has 50 steps and none ends by a timeout",
    ),
    "beyond the guessed limit": (
        make_episodes([*CLEAN, (61, True, False)]),
        "longer than the usual limit of 60 steps: 1 (the longest has 61).",
    ),
    "duplicates": (
        repeated(3, 2),
        "repeat an earlier one: 2 (episode 16 is episode 3 again).",
    ),
    "missing endings": (
        without_endings([(300 + i, True, False) for i in range(10)], kept=4),
        "over 6 times as much as 99% of the steps do: 5 (the first from transition 299",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_one_fault_is_one_warning(name):
    """The fault is named with its numbers, and nothing else is."""
    episodes, words = FAULTS[name]
    found = look(episodes)
    assert [words in warning for warning in found.warnings] == [True], found.warnings
    report = format_inspection(found)
    assert "Verdict: 1 thing to look at." in report
    assert f"* {found.warnings[0]}" in report.splitlines()


def test_every_step_an_ending():
    """Said once, not again as short episodes of the same length."""
    fall = make_episodes([(1, True, False)] * 20)
    assert look(fall, horizon=1).warnings[0] == "Every step is a terminal."
    mixed = make_episodes([(1, True, False), (1, False, True)] * 10)
    assert look(mixed, horizon=1).warnings[0] == "Every step ends an episode."
    for found in (look(fall), look(mixed)):
        assert len(found.warnings) == 2, "this, and no window with padding=drop"


def test_a_horizon_beyond_every_episode():
    found = look(make_episodes(CLEAN), horizon=60)
    assert found.windows == {"repeat_last": 652, "drop": 0}
    assert [w.startswith("No episode is longer") for w in found.warnings] == [True]
    assert look(make_episodes(CLEAN), horizon=59).windows["drop"] == 5


def test_a_given_time_limit_replaces_the_guess():
    assert look(make_episodes(CLEAN), limit=59).beyond_limit == 5
    assert look(make_episodes([*CLEAN, (61, True, False)]), limit=61).warnings == ()


def test_bounds_may_differ_by_dimension():
    episodes = clean(actions=[((EVERYTHING, 0), 5.0)])
    episodes.actions[::2, 0] = -5.0
    low, high = [-5, -1, -np.inf], [5, 1, np.inf]
    found = look(episodes, action_low=low, action_high=high)
    assert found.warnings == ()
    assert found.actions.saturated_share == pytest.approx(1 / 3, abs=0.01)
    assert found.to_dict()["actions"]["low"] == [-5.0, -1.0, None]


def test_a_resting_object_does_not_jump_when_touched():
    """Drifting by 1e-6 for long and then moving at 1e-2 is no missed ending."""
    episodes = make_episodes([(5000, False, True)])
    moves = np.where(np.arange(5000) < 4960, 1e-6, 1e-2)
    episodes.observations[:, :3] = np.cumsum(moves)[:, None]
    assert look(episodes).jumps.count == 0


def test_a_stop_within_a_step_does_not_jump():
    """One dimension's change, such as the speed of a point at a wall, is no reset."""
    episodes = make_episodes([(2000, False, True)])
    episodes.observations[1000:, 3] += 1e4
    assert look(episodes).jumps.count == 0
    episodes.observations[1000:, 2] -= 1e4
    assert look(episodes).jumps.first_transition == 999


def test_goals_are_counted_and_tell_duplicates_apart():
    episodes = repeated(0, 1)
    goals = np.zeros((episodes.num_transitions, 2), np.float32)
    same = look(dataclasses.replace(episodes, goals=goals))
    assert (same.goal_dim, same.duplicates) == (2, ((0, 16),))
    goals[episodes.starts[16] :] = np.nan
    other = look(dataclasses.replace(episodes, goals=goals))
    assert other.duplicates == ()
    assert other.non_finite["goals"] == 2 * 20


@given(structures)
@settings(max_examples=40)
def test_structure_is_counted(structure):
    """Endings, lengths and windows of any episodes."""
    found = look(make_episodes(structure))
    lengths = [steps for steps, _, _ in structure]
    kinds = [(terminal, timeout) for _, terminal, timeout in structure]
    assert dataclasses.astuple(found.endings) == (
        kinds.count((True, False)),
        kinds.count((False, True)),
        kinds.count((True, True)),
        kinds.count((False, False)),
        0,
    )
    assert (found.lengths.minimum, found.lengths.maximum) == (
        min(lengths),
        max(lengths),
    )
    assert found.windows == {
        "repeat_last": sum(lengths),
        "drop": sum(max(steps - HORIZON, 0) for steps in lengths),
    }
    assert found.one_step == lengths.count(1)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=10))
@settings(max_examples=40)
def test_duplicates_are_the_equal_ones(contents):
    """Episodes drawn from four contents are grouped by their content."""
    rows = np.array(contents, np.float32).repeat(3)[:, None]
    ends = np.tile([False, False, True], len(contents))
    episodes = Episodes(
        rows, rows, rows[:, 0], ends, ~ends, np.arange(0, len(rows) + 1, 3)
    )
    expected = {
        tuple(i for i, other in enumerate(contents) if other == content)
        for content in contents
        if contents.count(content) > 1
    }
    assert set(checks.duplicate_groups(episodes)) == expected


@given(st.lists(st.floats(width=32), min_size=1, max_size=60))
@settings(max_examples=60)
def test_spread_is_of_the_finite_values(values):
    values = np.array(values, np.float32)
    finite = values[np.isfinite(values)].astype(np.float64)
    found = checks.spread(values)
    assert checks.count_non_finite(values) == len(values) - len(finite)
    if len(finite) == 0:
        assert found is None
        return
    quantiles = dataclasses.astuple(found)[:7]
    assert list(quantiles) == sorted(quantiles)
    assert quantiles[0] == finite.min() and quantiles[6] == finite.max()
    assert found.median == pytest.approx(np.median(finite))
    assert found.mean == pytest.approx(finite.mean())


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
    """Nothing is wrong with it, and lost endings would be seen."""
    episodes, _ = load_d4rl_hdf5(KITCHEN)
    found = look(episodes)
    assert found.warnings == ()
    assert (found.num_episodes, found.endings.terminal) == (19, 19)
    assert list(found.constant_observations) == list(range(30, 60))
    merged = dataclasses.replace(episodes, starts=episodes.starts[[0, -1]])
    assert look(merged).jumps.count == 18
