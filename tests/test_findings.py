"""What may spoil a training: found with numbers, logged once, with what to do."""

import dataclasses

import h5py
import numpy as np
import pytest

from ractd_jax.data.sources import load_dataset, load_resolved
from ractd_jax.inspection.dataset import inspect_dataset
from ractd_jax.inspection.findings import NOTE, WARNING
from ractd_jax.normalizers import FITS
from ractd_jax.settings import from_mapping
from tests.conftest import run_main
from tests.inspection_toys import CLEAN, EVERYTHING, clean, edit, look, make_episodes

STEPS = make_episodes(CLEAN).num_transitions


def clock(start, tick):
    return (start + tick * np.arange(STEPS)).astype(np.float32)


def observed(values, dimension=1):
    return {"observations": [((EVERYTHING, dimension), values)]}


RUINOUS = {
    "one outlier": (
        {"observations": [((300, 1), -4e8)]},
        [
            "Values of observation dimension 1 have outliers: 99%",
            "of -4e+08 to",
            "robust",
        ],
    ),
    "outliers of several actions": (
        {"actions": [((300, 1), 700.0), ((9, 0), 900.0)]},
        ["action dimensions 0, 1 have outliers: 99%", "0.22%", "action_normalizer"],
    ),
    "an absurd reward": (
        {"rewards": [(44, -9e5)]},
        ["Rewards have outliers: 99% of them lie within", "Correct or leave out"],
    ),
    "seconds since 1970": (
        observed(clock(1.6e9, 0.5)),
        ["span 384 at 1.6e+09", "128 apart: 23 of its 24 bits are lost"],
    ),
    "a clock that float32 stops": (
        observed(clock(-1.6e9, 1e-3)),
        ["span 0 at 1.6e+09", "128 apart", "Subtract an offset"],
    ),
    "near the largest float32": (
        observed(np.linspace(-3e38, 3.2e38, STEPS)),
        ["reach 3.2e+38: squares", "overflow in float32. Correct or scale them."],
    ),
    "returns beyond float32": (
        {"rewards": [(EVERYTHING, np.linspace(1e18, 1.2e19, STEPS))]},
        ["overflow in float32. Scale the rewards down."],
    ),
    "rounding around a constant": (
        observed(0.7 + 1e-7 * np.sin(np.arange(STEPS))),
        ["observation dimension 1 are constant. Planners ignore them"],
    ),
    "actions by number": (
        {"actions": [(EVERYTHING, np.arange(STEPS)[:, None] % 4 - 1.0)]},
        ["Every action value is a whole number. Discrete actions"],
    ),
}


@pytest.mark.parametrize("name", RUINOUS)
def test_ruinous_values_are_warned_of(name):
    changes, words = RUINOUS[name]
    found = look(clean(**changes), action_low=-1e9, action_high=1e9).findings
    assert any(all(w in str(f) for w in words) for f in found), found
    assert {finding.severity for finding in found} == {WARNING}


@pytest.mark.parametrize(("name", "warns"), [("zscore", True), ("robust", False)])
def test_outliers_are_judged_as_the_normaliser_leaves_them(name, warns):
    episodes = clean(observations=[((300, 1), -4e8)])
    normalizers = {"observations": FITS[name](episodes.observations)}
    found = look(episodes, normalizers=normalizers).warnings
    assert ["have outliers" in line for line in found] == [True] * warns


def test_what_is_rare_is_no_outlier():
    """A flag, a sparse reward and long tails of a distribution."""
    rng = np.random.default_rng(0)
    flag = (np.arange(STEPS) == 70).astype(np.float32)
    tails = rng.exponential(2.0, STEPS).astype(np.float32)
    episodes = clean(
        observations=[((EVERYTHING, 1), flag), ((EVERYTHING, 2), tails)],
        rewards=[(EVERYTHING, 100.0 * flag)],
    )
    assert look(episodes).warnings == ()


def test_a_small_range_is_a_range():
    """1e-9 around 0 is judged by its own size."""
    small = clean(observations=[((EVERYTHING, 1), 1e-9 * np.arange(STEPS))])
    assert look(small).warnings == ()


def write(path, episodes, **fields):
    with h5py.File(path, "w") as file:
        for name in ("observations", "actions", "rewards", "terminals", "timeouts"):
            file[name] = fields.get(name, getattr(episodes, name))
    return path


def settings_of(path, **sections):
    return from_mapping({"dataset": {"source": "d4rl", "path": str(path)}, **sections})


@pytest.fixture
def spoilt(tmp_path):
    """Zero rewards, a dead action, and one episode again, which is but a note."""
    episodes = make_episodes([*CLEAN[:-1], (20, True, False)])
    start = episodes.starts[-2]
    twin = {
        name: [(slice(start, None), getattr(episodes, name)[:20])]
        for name in ("observations", "actions")
    }
    twin["actions"] = [*twin["actions"], ((EVERYTHING, 2), 0.5)]
    path = tmp_path / "spoilt.hdf5"
    return write(path, edit(episodes, rewards=[(EVERYTHING, 0.0)], **twin))


WARNED = (
    "Action dimension 2 is always 0.5. Plans will",
    "Every reward is 0. Nothing is learned from rewards",
)


def test_a_load_logs_the_warnings_once(spoilt, caplog):
    """By either function, in the words of an inspection, which has notes besides."""
    settings, dataset = load_resolved(settings_of(spoilt))
    load_dataset(settings_of(spoilt))
    lines = caplog.messages
    assert len(lines) == 2
    for line, words in zip(lines, WARNED, strict=True):
        assert line.startswith(f"{spoilt}: {words}")
    report = inspect_dataset(settings, dataset)
    found = report.about["findings"]
    said = [f"{spoilt}: {f['text']} {f['advice']}" for f in found]
    assert said[:2] == lines
    assert [f["severity"] for f in found] == [WARNING, WARNING, NOTE]
    assert "episode 15 is episode 0 again" in report.text


def test_bounds_are_those_of_the_environment(tmp_path, caplog):
    """Pendulum's torques go to 2; a guess would be 1."""
    episodes = make_episodes(CLEAN)
    episodes = dataclasses.replace(
        episodes,
        observations=episodes.observations[:, :3],
        actions=1.9 * episodes.actions[:, :1],
    )
    path = write(tmp_path / "a.hdf5", episodes)
    load_dataset(settings_of(path, environment={"id": "Pendulum-v1"}))
    assert caplog.messages == []
    load_dataset(settings_of(path, environment={"id": "Nobody-v0"}))
    unknown, line = caplog.messages
    assert "'Nobody-v0' cannot be made" in unknown
    assert "Action values outside their bounds" in line
    assert "The bounds -1 and 1 are a guess" in line
    caplog.clear()
    path = write(tmp_path / "b.hdf5", edit(episodes, actions=[((3, 0), 2.5)]))
    settings = settings_of(path, environment={"id": "Pendulum-v1"})
    dataset = load_dataset(settings)
    assert "outside their bounds: 1 (0.15%), by 0.5 at worst" in caplog.text
    assert "outside their bounds: 1 (" in inspect_dataset(settings, dataset).text


def test_a_limit_of_the_environment_finds_missing_timeouts(tmp_path, caplog):
    """No timeout is flagged, and Pendulum ends after 200 steps."""
    episodes = make_episodes([(230, True, False), (90, True, False)])
    episodes = dataclasses.replace(
        episodes,
        observations=episodes.observations[:, :3],
        actions=episodes.actions[:, :1],
    )
    path = write(tmp_path / "a.hdf5", episodes)
    load_dataset(settings_of(path, environment={"id": "Pendulum-v1"}))
    (line,) = caplog.messages
    assert "longer than the usual limit of 200 steps: 1 (the longest has 230)" in line


def test_a_training_prints_them_once(spoilt, tmp_path):
    done = run_main(
        "train",
        "--stage=bc",
        "--config=configs/any_dataset.py:smoke",
        "--config.task=spoilt",
        "--config.dataset.source=d4rl",
        f"--config.dataset.path={spoilt}",
        f"--workdir={tmp_path / 'bc'}",
    )
    for words in WARNED:
        assert done.stderr.count(words) == 1
    assert "again" not in done.stderr
