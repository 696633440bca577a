"""Uses of a reward model or critic: second phases, distillation and noise steering."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ractd_jax import load_planner
from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import CheckpointError, ConfigError
from ractd_jax.methods import CtmStudent, NoiseSteering
from ractd_jax.settings import from_mapping
from ractd_jax.training.loop import train
from ractd_jax.training.stages import (
    dimensions,
    make_stage,
    steering_stage,
    student_stage,
)
from ractd_jax.training.stages.student_points import (
    NOISES,
    Samples,
    best_plans,
    one_step_plans,
    return_spread,
)
from tests.toys import save_untrained, stage_loss, toy_dataset, toy_settings

OPTIONS = {
    "network": {"kind": "mlp", "mlp_width": 16},
    "critic": {"widths": (8,), "num_members": 2},
    "reward": {"widths": (8,), "num_members": 2},
    "student": {
        "num_steps": 2,
        "batch_size": 8,
        "path_weight": 1.0,
        "num_paths": 32,
        "path_batch_size": 8,
        "reward_input": "one_step",
        "reward_weight": 0.0,
    },
    "steering": {"num_steps": 4, "batch_size": 8, "widths": (8,)},
    "run": {"steps_per_call": 2, "log_every": 2, "checkpoint_every": 2},
}


def settings_of(**student):
    return from_mapping({"student": student}, toy_settings(**OPTIONS))


@pytest.fixture(scope="module")
def dataset():
    return toy_dataset()


@pytest.fixture(scope="module")
def folder(dataset, tmp_path_factory):
    """A teacher, reward models, a critic and CTD."""
    folder, settings = tmp_path_factory.mktemp("models"), settings_of()
    for name in ("teacher", "reward", "critic"):
        save_untrained(make_stage(name, settings, dataset), folder / name)
    ctd = student_stage(settings, dataset, folder / "teacher", None)
    save_untrained(ctd, folder / "ctd")
    return folder


def second_phase(folder, dataset, reward="critic", **options):
    settings = settings_of(reward_weight=1.0, **options)
    paths = (folder / name for name in ("teacher", reward, "ctd"))
    return student_stage(settings, dataset, *paths)


def batch_and_draws(stage):
    batch = stage.gather(stage.data, np.arange(8, dtype=np.int32))
    return batch, jax.random.key(3)


@pytest.fixture(scope="module")
def ctd_params(folder, dataset):
    return second_phase(folder, dataset).init_params(jax.random.key(0))


# --- second phases


def test_a_second_phase_starts_as_the_student_it_names(folder, dataset, ctd_params):
    planner = load_planner(folder / "ctd")
    jax.tree.map(np.testing.assert_array_equal, ctd_params, planner.params)


def test_a_second_phase_must_fit_its_start(folder, dataset):
    wide = dataclasses.replace(settings_of(), network=settings_of().network)
    wide = from_mapping({"network": {"mlp_width": 32}}, wide)
    with pytest.raises(CheckpointError, match="network settings differ"):
        student_stage(wide, dataset, folder / "teacher", None, folder / "ctd")
    with pytest.raises(CheckpointError, match="expected a student checkpoint, found a"):
        student_stage(
            settings_of(), dataset, folder / "teacher", None, folder / "teacher"
        )


@pytest.mark.parametrize(
    "reward", [pytest.param("reward", marks=pytest.mark.slow), "critic"]
)
def test_the_spread_is_the_unit_of_the_reward(folder, dataset, ctd_params, reward):
    """The term is divided by the return's spread; weight and cap mean the same."""
    values = {}
    for unit in ("return", "spread"):
        stage = second_phase(
            folder, dataset, reward, reward_unit=unit, advantage_cap=None
        )
        batch, key = batch_and_draws(stage)
        _, info = stage_loss(stage)(ctd_params, None, stage.frozen, batch, key)
        values[unit] = float(info["loss/reward"])
    spread = float(stage.frozen["reward_unit"])
    assert 0 < spread != 1
    np.testing.assert_allclose(values["spread"] * spread, values["return"], rtol=1e-4)


def test_the_spread_is_over_the_plans_of_one_state():
    """By hand: two states, whose plans return 0 or 2, and 10 or 14."""
    plans = np.zeros((2 * NOISES, 1, 1), np.float32)
    plans[1::2] = [[1.0]]
    condition = np.repeat([0.0, 1.0], NOISES).astype(np.float32)

    def rate(plans, condition):
        return 10 * condition + (2 + 2 * condition) * plans[:, 0, 0]

    found = return_spread(rate, Samples(condition, None, plans))
    assert float(found) == pytest.approx(np.sqrt((1 + 4) / 2))
    for none in (0.0, 1e-6):  # The second is a float32 step at 20.
        alike = lambda p, c: 20 + none * p[:, 0, 0]  # noqa: B023, E731
        assert float(return_spread(alike, Samples(condition, 0, plans))) == 1


@pytest.mark.slow
def test_a_clipped_gradient_changes_the_step_and_not_the_loss(
    folder, dataset, ctd_params
):
    found = {}
    for clip in (None, 1e-3):
        stage = second_phase(folder, dataset, reward_gradient_clip=clip)
        batch, key = batch_and_draws(stage)
        frozen = jax.tree.map(jnp.asarray, stage.frozen)
        loss = lambda p: stage_loss(stage)(p, None, frozen, batch, key)[0]  # noqa: B023, E731
        value, grads = jax.value_and_grad(loss)(ctd_params)
        leaves = jax.tree.leaves(grads)
        found[clip] = float(value), np.concatenate([x.ravel() for x in leaves])
    assert found[None][0] == pytest.approx(found[1e-3][0], rel=1e-5)
    assert not np.allclose(found[None][1], found[1e-3][1], rtol=1e-3)


# --- best-of-N distillation


def test_the_best_plans_are_the_best_of_their_candidates(folder, dataset, ctd_params):
    settings = settings_of(path_candidates=5)
    method = CtmStudent.from_settings(settings, dimensions(settings, dataset))
    first = jax.tree.map(np.asarray, ctd_params)

    def rate(plans, condition):
        return plans[:, 0, 0]

    points = best_plans(settings, dataset, method, first, rate)
    assert points.start.shape == points.end.shape == (32, 4, 2)
    assert (points.sigma == method.edm.sigma_max).all()
    # Better than a plan from the point's own noise, four times in five.
    own = one_step_plans(method)(first, points.start, points.condition)
    better = points.end[:, 0, 0] > np.asarray(own)[:, 0, 0]
    assert better.mean() > 0.6
    one = dataclasses.replace(
        settings, student=dataclasses.replace(settings.student, path_candidates=1)
    )
    less = best_plans(one, dataset, method, first, rate).end
    assert points.end[:, 0, 0].mean() > less[:, 0, 0].mean()


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("path", "path_weight above 0"),
        ("reward", r"\(--reward=DIR\)"),
        ("start", r"\(--start=DIR\)"),
    ],
)
def test_distillation_says_what_it_needs(folder, dataset, missing, message):
    options = {"path_weight": 0.0} if missing == "path" else {}
    settings = settings_of(path_candidates=4, **options)
    reward = None if missing == "reward" else folder / "critic"
    start = None if missing == "start" else folder / "ctd"
    with pytest.raises(ConfigError, match=f"path_candidates = 4: expected .*{message}"):
        student_stage(settings, dataset, folder / "teacher", reward, start)


def test_distillation_takes_the_best_plans_as_its_points(folder, dataset):
    settings = settings_of(path_candidates=4)
    paths = (folder / name for name in ("teacher", "critic", "ctd"))
    stage = student_stage(settings, dataset, *paths)
    assert stage.method.reward is None and "reward" not in stage.frozen
    assert (np.asarray(stage.frozen["paths"].sigma) == 80.0).all()


# --- noise steering


@pytest.mark.slow
def test_steering_moves_the_noise_and_not_the_student(folder, dataset, tmp_path):
    settings = settings_of()
    stage = steering_stage(settings, dataset, folder / "ctd", folder / "critic")
    state = train(stage, settings.run, 0, tmp_path / "steering")
    first = stage.init_params(jax.random.key(0))
    for params in (state.params, state.ema_params):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
            params["student"],
            first["student"],
        )
    moved = np.asarray(state.params["steering"]["Dense_1"]["kernel"])
    assert np.abs(moved).max() > 0
    planner = load_planner(tmp_path / "steering", temperature=0.3)
    assert planner.nfe == 1 and planner.is_random
    observations = np.zeros((3, 3), np.float32)
    assert planner.plan(observations, jax.random.key(0)).shape == (3, 4, 2)


def test_unsteered_noise_gives_the_students_plans(folder, dataset):
    """Before its first step, and by the equation after: G(T z + b tanh f)."""
    settings = settings_of()
    stage = steering_stage(settings, dataset, folder / "ctd", folder / "critic")
    params = stage.init_params(jax.random.key(0))
    batch, _ = batch_and_draws(stage)
    noises = jax.random.normal(jax.random.key(1), (1, 8, 4, 2))
    sampler = stage.method.sampler(1, 0.5)
    found = sampler.sample(sampler.prepare(params), batch.condition, noises)
    student = stage.method.student.sampler(1, 0.5)
    expected = student.sample(
        student.prepare(params["student"]), batch.condition, noises
    )
    np.testing.assert_allclose(found, expected, atol=2e-5)
    bias = jnp.full_like(params["steering"]["Dense_1"]["bias"], 100.0)
    params["steering"]["Dense_1"]["bias"] = bias
    moved = stage.method.move(params, noises[0], batch.condition)
    np.testing.assert_allclose(moved, noises[0] + settings.steering.reach, rtol=1e-5)


def test_steering_refuses_weight_decay(folder, dataset):
    """It would reach the student, whose weights have no gradient."""
    decay = {"steering": {"optimizer": {"weight_decay": 1e-4}}}
    settings = from_mapping(decay, settings_of())
    with pytest.raises(ConfigError, match="weight_decay: expected 0.*found 0.0001"):
        steering_stage(settings, dataset, folder / "ctd", folder / "critic")


def test_steering_takes_one_step():
    dims = Dimensions(observation=3, action=2, horizon=4, history=1)
    with pytest.raises(ValueError, match="num_steps must be 1 for steering, not 2"):
        NoiseSteering.from_settings(settings_of(), dims).sampler(2)


def test_candidates_are_chosen_by_a_critic(folder):
    planner = load_planner(
        folder / "ctd", num_candidates=4, reward=folder / "critic", temperature=1.0
    )
    observations = np.zeros((2, 3), np.float32)
    assert planner.act(observations, jax.random.key(0)).shape == (2, 2)
