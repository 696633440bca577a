"""Inverse dynamics: its pairs, a system with a known answer, and the checkpoints."""

import json

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ractd_jax import networks
from ractd_jax.data.episodes import build_episodes
from ractd_jax.data.sources import make_dataset
from ractd_jax.errors import CheckpointError, ConfigError, DataError
from ractd_jax.methods import PairBatch
from ractd_jax.normalizers import MinMaxNormalizer
from ractd_jax.planning import load_inverse_dynamics, load_planner
from ractd_jax.settings import from_mapping
from ractd_jax.training.loop import train
from ractd_jax.training.stages import inverse_dynamics_stage, reward_stage
from ractd_jax.training.stages.inverse_dynamics import change_scale, within_episodes
from tests.conftest import run_main

# s' = s + EFFECT a: a step is a hundredth of the range of the states.
EFFECT = np.array([[0.02, 0.01], [-0.01, 0.02]])
ACTION_HIGH = np.array([1.0, 3.0])


def small_settings(steps_per_call=100, **options):
    section = {"num_steps": 400, "batch_size": 64, "widths": (32,), **options}
    cadence = ("steps_per_call", "log_every", "checkpoint_every")
    return from_mapping(
        {
            "task": "toy",
            "inverse_dynamics": section,
            "reward": {"num_steps": 2, "batch_size": 4, "widths": (8,)},
            # Each call is waited for: two CPU devices deadlock with many under way.
            "run": dict.fromkeys(cadence, steps_per_call),
        }
    )


def tiny_settings(**options):
    return small_settings(steps_per_call=2, num_steps=2, batch_size=4, **options)


def fields_of(observations, actions, lengths) -> dict:
    timeouts = np.zeros(sum(lengths), bool)
    timeouts[np.cumsum(lengths) - 1] = True
    return {
        "observations": observations,
        "actions": actions,
        "rewards": np.arange(sum(lengths), dtype=np.float32),
        "terminals": np.zeros(sum(lengths), bool),
        "timeouts": timeouts,
    }


def linear_fields(num_episodes=60, length=30) -> dict:
    """Episodes of s' = s + EFFECT a that start anywhere in [-1, 1]^2."""
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (num_episodes, length, 2)) * ACTION_HIGH
    changes = np.cumsum(actions @ EFFECT.T, axis=1)
    begin = rng.uniform(-1, 1, (num_episodes, 1, 2))
    states = begin + np.append(0.0 * begin, changes[:, :-1], axis=1)
    lengths = [length] * num_episodes
    return fields_of(states.reshape(-1, 2), actions.reshape(-1, 2), lengths)


def numbered_dataset(lengths):
    """Observations (episode, step), and the step as the action."""
    episode = np.repeat(np.arange(len(lengths)), lengths)
    step = np.concatenate([np.arange(length) for length in lengths])
    actions = np.float32(step[:, None])
    fields = fields_of(np.stack([episode, step], 1), actions, lengths)
    return make_dataset("numbered", build_episodes(fields, "numbered"))


@pytest.fixture(scope="module")
def linear():
    return make_dataset("linear", build_episodes(linear_fields(), "linear"))


@pytest.fixture(scope="module")
def trained(linear, tmp_path_factory):
    """The folder and the last state of a training on the linear system."""
    settings = small_settings()
    folder = tmp_path_factory.mktemp("inverse_dynamics")
    return folder, train(
        inverse_dynamics_stage(settings, linear), settings.run, 0, folder
    )


def some_pairs():
    """(s, s', a) of the linear system that the training has not seen."""
    rng = np.random.default_rng(1)
    states = rng.uniform(-0.8, 0.8, (200, 2))
    actions = rng.uniform(-0.9, 0.9, (200, 2)) * ACTION_HIGH
    pairs = states, states + actions @ EFFECT.T, actions
    return [array.astype(np.float32) for array in pairs]


# --- the pairs


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 6))
def test_pairs_are_all_those_within_an_episode(lengths, stride):
    starts = np.cumsum([0, *lengths]).astype(np.int32)
    episode = np.repeat(np.arange(len(lengths)), lengths)
    rows = np.arange(starts[-1], dtype=np.int32)
    found = within_episodes(starts, rows, stride)
    expected = [
        row
        for row in rows
        if row + stride < len(rows) and episode[row] == episode[row + stride]
    ]
    assert found.dtype == np.int32 and found.tolist() == expected
    even = [row for row in expected if row % 2 == 0]
    assert within_episodes(starts, rows[::2], stride).tolist() == even


@pytest.mark.parametrize("stride", [1, 3])
def test_batches_are_of_one_episode_and_the_first_steps_action(stride):
    """Two episodes of the six are not longer than a stride of three."""
    lengths = [5, 1, 9, 3, 12, 7]
    dataset = numbered_dataset(lengths)
    stage = inverse_dynamics_stage(
        tiny_settings(stride=stride, holdout_fraction=0.0), dataset
    )
    assert stage.num_rows == sum(max(length - stride, 0) for length in lengths)
    batch = stage.gather(stage.data, np.arange(stage.num_rows))
    first, second = (
        dataset.observation_normalizer.unnormalize(observations)
        for observations in batch[:2]
    )
    actions = dataset.action_normalizer.unnormalize(batch.actions)
    np.testing.assert_allclose(first[:, 0], second[:, 0], atol=1e-5)
    np.testing.assert_allclose(second[:, 1] - first[:, 1], stride, atol=1e-5)
    np.testing.assert_allclose(actions[:, 0], first[:, 1], atol=1e-5)


def test_a_change_by_rounding_is_none():
    """In a float32 step at 0.9 lies no information; a change of 1e-3 is one."""
    before = np.full((4, 2), 0.9, np.float32)
    after = np.stack([np.nextafter(before[:, 0], 1), before[:, 1] + 1e-3], axis=1)
    unit = MinMaxNormalizer(np.float32([-1, -1]), np.float32([1, 1]))
    scale = change_scale(PairBatch(before, np.float32(after), before), unit)
    np.testing.assert_allclose(scale, [1.0, 1e-3], rtol=1e-3)


def test_held_out_episodes_are_not_trained_on():
    dataset = numbered_dataset([6] * 10)
    settings = tiny_settings(holdout_fraction=0.3)
    stage = inverse_dynamics_stage(settings, dataset)
    rows = np.asarray(stage.data.train_rows)
    assert len(rows) == stage.num_rows == 7 * 5
    assert len(np.unique(rows // 6)) == 7


def test_gather_on_the_device_equals_gather_on_the_host(linear):
    stage = inverse_dynamics_stage(tiny_settings(), linear)
    rows = np.arange(0, stage.num_rows, 7)
    host = stage.gather(stage.data, rows)
    device = jax.jit(stage.gather)(jax.device_put(stage.data), rows)
    for a, b in zip(host, device, strict=True):
        assert isinstance(a, np.ndarray) and isinstance(b, jax.Array)
        assert a.dtype == b.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_episodes_shorter_than_the_stride_are_refused():
    with pytest.raises(DataError, match=r"more than 4 steps \(inverse_dynamics.str"):
        inverse_dynamics_stage(tiny_settings(stride=4), numbered_dataset([4, 2, 3]))


# --- the network


def test_network_sees_changes_at_their_own_scale():
    """A change of a thousandth of the range moves the prediction as one of a half."""
    observations = jnp.zeros((1, 2))
    outputs = []
    for scale in (1e-3, 0.5):
        config = networks.InverseDynamicsConfig(3, (scale, scale), (8,))
        model = networks.InverseDynamics(config)
        params = model.init(jax.random.key(0), observations, observations)["params"]
        outputs.append(
            model.apply({"params": params}, observations, observations + scale)
        )
    assert outputs[0].shape == (1, 3)
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-5)


@pytest.mark.parametrize(
    "bad", [{"widths": ()}, {"change_scale": (1.0, 0.0)}], ids=["widths", "scale"]
)
def test_impossible_network_raises(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        networks.InverseDynamicsConfig(
            **{"action_dim": 1, "change_scale": (1.0,)} | bad
        )


def test_constant_dimensions_keep_the_input_finite():
    dataset = numbered_dataset([6, 6])
    stage = inverse_dynamics_stage(tiny_settings(), dataset)
    # (episode, step): of 0 .. 5 a step is two fifths of [-1, 1].
    np.testing.assert_allclose(stage.metadata["change_scale"], [1.0, 0.4], rtol=1e-5)


# --- the training and its checkpoints


def test_a_linear_system_is_learnt(trained):
    folder, _ = trained
    action_fn = load_inverse_dynamics(folder)
    states, next_states, actions = some_pairs()
    found = np.asarray(action_fn(states, next_states))
    assert found.shape == actions.shape and found.dtype == np.float32
    errors = np.sqrt(np.mean((found - actions) ** 2, axis=0)) / ACTION_HIGH
    assert errors.max() < 0.05
    rows = [json.loads(row) for row in (folder / "metrics.jsonl").open()]
    assert [row["step"] for row in rows] == [100, 200, 300, 400]
    assert rows[-1]["loss/held_out_rmse"] < 0.1


def test_the_logged_error_is_in_units_of_actions(trained, linear):
    """That of the loaded function over the held-out episodes."""
    folder, state = trained
    stage = inverse_dynamics_stage(small_settings(), linear)
    logged = float(stage.probe(state, "")["loss/held_out_rmse"])
    held = np.setdiff1d(np.arange(60), np.unique(stage.data.train_rows // 30))
    assert len(held) == 6
    rows = (30 * held[:, None] + np.arange(29)).ravel()
    episodes = linear.episodes
    found = load_inverse_dynamics(folder)(
        episodes.observations[rows], episodes.observations[rows + 1]
    )
    expected = np.sqrt(np.mean((found - episodes.actions[rows]) ** 2))
    assert logged == pytest.approx(float(expected), rel=1e-4)


def test_actions_stay_in_the_datas_range(trained, linear):
    action_fn = load_inverse_dynamics(trained[0])
    far = np.float32([[0.5, 0.5], [-0.5, -0.5]])
    found = np.asarray(action_fn(np.zeros((2, 2), np.float32), far))
    low, high = linear.action_normalizer
    assert (found >= low).all() and (found <= high).all()
    assert np.isin(found, [low, high]).any()


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_loading_gives_the_weights_that_were_saved(trained, linear, weights):
    folder, state = trained
    params = state.ema_params if weights == "ema" else state.params
    states, next_states, _ = some_pairs()
    stage = inverse_dynamics_stage(small_settings(), linear)
    scale = tuple(stage.metadata["change_scale"])
    model = networks.InverseDynamics(networks.InverseDynamicsConfig(2, scale, (32,)))
    normalizer = linear.observation_normalizer
    normalized = (normalizer.normalize(s) for s in (states, next_states))
    raw = model.apply({"params": jax.device_get(params)}, *normalized)
    expected = np.clip(
        linear.action_normalizer.unnormalize(raw), *linear.action_normalizer
    )
    found = load_inverse_dynamics(folder, weights=weights)(states, next_states)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shapes", [((4, 3), (4, 3)), ((4, 1), (4, 1)),
                                    ((4, 2), (3, 2)), ((2,), (2,))])  # fmt: skip
def test_other_shapes_are_refused(trained, shapes):
    action_fn = load_inverse_dynamics(trained[0])
    with pytest.raises(AssertionError):
        action_fn(*(np.zeros(shape, np.float32) for shape in shapes))


def test_a_checkpoint_of_another_stage_is_refused(trained, linear, tmp_path):
    settings = tiny_settings()
    train(reward_stage(settings, linear), settings.run, 0, tmp_path / "reward")
    with pytest.raises(
        CheckpointError, match="expected an inverse_dynamics checkpoint, found a reward"
    ):
        load_inverse_dynamics(tmp_path / "reward")
    with pytest.raises(CheckpointError, match="found one of 'inverse_dynamics'"):
        load_planner(trained[0])
    with pytest.raises(CheckpointError, match="checkpoints"):
        load_inverse_dynamics(tmp_path / "nowhere")


def test_the_main_trains_a_loadable_checkpoint(tmp_path):
    path = tmp_path / "linear.hdf5"
    with h5py.File(path, "w") as file:
        for name, array in linear_fields().items():
            file[name] = array
    run_main(
        "train",
        "--stage=inverse_dynamics",
        "--config=configs/any_dataset.py:smoke",
        "--config.dataset.source=d4rl",
        f"--config.dataset.path={path}",
        "--config.inverse_dynamics.stride=2",
        f"--workdir={tmp_path / 'run'}",
    )
    states, next_states, actions = some_pairs()
    found = load_inverse_dynamics(tmp_path / "run")(states, next_states)
    assert found.shape == actions.shape and np.isfinite(found).all()


def test_without_places_a_model_sees_their_change_alone(tmp_path):
    """An ant acts alike wherever in the maze it stands."""
    rng = np.random.default_rng(0)
    states = np.cumsum(rng.normal(size=(40, 29)), axis=0)
    fields = fields_of(states, rng.uniform(-1, 1, (40, 8)), [20, 20])
    dataset = make_dataset("ants", build_episodes(fields, "ants"))
    task = {"environment": {"id": "ractd/AntMaze-UMaze-v0"}}
    for places in (True, False):
        settings = from_mapping(task, tiny_settings(places=places))
        folder = tmp_path / str(places)
        train(inverse_dynamics_stage(settings, dataset), settings.run, 0, folder)
        model = load_inverse_dynamics(folder)
        before, after = states[:3].astype(np.float32), states[1:4].astype(np.float32)
        moved = np.eye(29, dtype=np.float32)[:2].sum(axis=0) * 1.5
        here = model(before, after)
        there = model(before + moved, after + moved)
        assert np.allclose(here, there, atol=1e-4) != places
        # How far it is to go matters in both.
        assert not np.allclose(here, model(before, after + moved), atol=1e-4)


def test_places_that_are_not_known_are_named():
    with pytest.raises(ConfigError, match="inverse_dynamics.places: expected True"):
        inverse_dynamics_stage(tiny_settings(places=False), numbered_dataset([5, 5]))
