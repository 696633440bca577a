"""A student's switches, gradients, checkpoints and warnings."""

import dataclasses
import logging

import jax
import numpy as np
import pytest

from ractd_jax import losses
from ractd_jax.errors import CheckpointError, ConfigError
from ractd_jax.normalizers import fit_min_max
from ractd_jax.settings import Optimizer
from ractd_jax.training.loop import make_sample_fn
from ractd_jax.training.stages import (
    make_stage,
    student_stage,
)
from ractd_jax.training.state import create_state, make_optimizer
from tests.toys import random_weights, save_untrained, stage_loss
from tests.training.conftest import small_settings


def mlp_settings(**sections):
    """A network that compiles fast."""
    network = {"kind": "mlp", "mlp_width": 16}
    return small_settings(**{"network": network, **sections})


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    """A tiny teacher and reward ensemble, for student stages."""
    folder = tmp_path_factory.mktemp("trained")
    for name in ("teacher", "reward"):
        save_untrained(make_stage(name, mlp_settings(), dataset), folder / name)
    return folder


# Values of the compiled program: one program serves them all.
TRACED = set("pessimism advantage_cap ctm_weight dsm_weight teacher_weights".split())


def student_gradient(trained, dataset, make=lambda gradient_fn: gradient_fn, **options):
    """(gradient, scalars, its function, `make` of the plain one) with these options."""
    settings = mlp_settings(student=options)
    stage = student_stage(settings, dataset, trained / "teacher", trained / "reward")
    params = random_weights(stage)
    target = None
    if stage.target_decay is not None:
        target = jax.tree.map(lambda leaf: 0.9 * leaf, params)
    batch = make_sample_fn(stage)(stage.data, jax.random.key(0))
    gradient_fn = make(jax.grad(stage_loss(stage), has_aux=True))
    grads, info = gradient_fn(params, target, stage.frozen, batch, jax.random.key(1))
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(grads)])
    return flat, {name: float(value) for name, value in info.items()}, gradient_fn


@pytest.fixture(scope="module")
def compiled(trained, dataset):
    """:func:`student_gradient` of the defaults, as one program."""
    return student_gradient(trained, dataset, jax.jit)


@pytest.fixture(scope="module")
def base(trained, dataset):
    """The same op by op: what is no traced value would be a program of its own."""
    return student_gradient(trained, dataset)


def switch(**options):
    """Switches that are no traced value are slow: each is run op by op."""
    marks = [] if options.keys() <= TRACED else [pytest.mark.slow]
    return pytest.param(options, id=next(iter(options)), marks=marks)


@pytest.mark.parametrize(
    "switch",
    [
        switch(distance="pseudo_huber"),
        switch(distance="released"),
        switch(reward_input="one_step"),
        switch(dsm_form="jump"),
        switch(teacher_weights="raw"),
        switch(target_ema=0.99),
        switch(max_solver_steps=3),
        switch(num_scales=None),
        switch(pessimism=0.0),
        switch(advantage_cap=0.001),
        switch(num_members=1),
        switch(reward_weight=0.0),
        switch(ctm_weight=1.0),
        switch(dsm_weight=0.1),
        switch(dropout_rate=0.5),
    ],
)
def test_every_switch_of_the_student_changes_its_gradient(
    request, trained, dataset, switch
):
    if switch.keys() <= TRACED:
        before, _, program = request.getfixturevalue("compiled")
        changed, info, _ = student_gradient(
            trained, dataset, lambda _: program, **switch
        )
        assert program._cache_size() == 1
    else:
        before = request.getfixturevalue("base")[0]
        changed, info, _ = student_gradient(trained, dataset, **switch)
    assert np.isfinite(changed).all() and before.shape == changed.shape
    assert not np.allclose(before, changed, rtol=1e-5, atol=1e-9)
    assert ("loss/reward" in info) == (switch.get("reward_weight") != 0.0)


def test_the_rewards_samples_start_at_every_temperature(trained, dataset, monkeypatch):
    """Their noise is that of temperature 1, scaled row by row."""
    monkeypatch.setattr(losses, "student_loss", lambda *arguments: arguments[3])

    def init_noise(**options):
        settings = mlp_settings(student={"reward_input": "one_step", **options})
        teacher, reward = trained / "teacher", trained / "reward"
        stage = student_stage(settings, dataset, teacher, reward)
        batch = make_sample_fn(stage)(stage.data, jax.random.key(0))
        params = random_weights(stage)
        key = jax.random.key(1)
        return stage_loss(stage)(params, None, stage.frozen, batch, key).init_noise

    ratio = np.asarray(init_noise(reward_temperature=0.2) / init_noise())
    scale = ratio.reshape(len(ratio), -1)
    np.testing.assert_allclose(scale, scale[:, :1] * np.ones_like(scale), rtol=1e-5)
    assert 0.2 <= scale.min() < 0.5 and 0.7 < scale.max() <= 1.0


def test_a_temperature_that_no_reward_sees_is_refused(trained, dataset):
    settings = mlp_settings(student={"reward_temperature": 0.5})
    with pytest.raises(ConfigError, match="reward_temperature.*'one_step'.*'dsm'"):
        student_stage(settings, dataset, trained / "teacher", trained / "reward")


def test_a_students_checkpoints_must_fit(trained, dataset, tmp_path):
    settings, reward = mlp_settings(), trained / "reward"
    with pytest.raises(CheckpointError, match="expected a teacher checkpoint, found"):
        student_stage(settings, dataset, trained / "reward", trained / "reward")
    other = mlp_settings(task="other")
    with pytest.raises(CheckpointError, match="task 'other', found one of task 'toy'"):
        student_stage(other, dataset, trained / "teacher", reward)
    wide = mlp_settings(network={"widths": (16,)})
    with pytest.raises(CheckpointError, match="network settings differ"):
        student_stage(wide, dataset, trained / "teacher", reward)
    with pytest.raises(ConfigError, match="--reward=DIR"):
        student_stage(settings, dataset, trained / "teacher", None)
    shifted = dataclasses.replace(
        dataset, action_normalizer=fit_min_max(2.0 * dataset.episodes.actions)
    )
    with pytest.raises(CheckpointError, match=r"normalizers \(.*\) differ"):
        student_stage(settings, shifted, trained / "teacher", reward)


def test_exploiting_the_reward_model_is_warned_of(trained, dataset, caplog):
    """A student whose plans are predicted above the data's range trips the warning."""
    stage = student_stage(
        mlp_settings(), dataset, trained / "teacher", trained / "reward"
    )
    params = random_weights(stage)
    state = create_state(params, make_optimizer(Optimizer(), 4), False)
    with caplog.at_level(logging.WARNING, logger="absl"):
        scalars = stage.probe(state, "student")
        assert "exploiting" not in caplog.text
        stage.metadata["predicted_return"]["data_q99"] = -1e9
        stage.probe(state, "student")
    assert "exploiting the reward model" in caplog.text
    assert scalars["reward/student_median"] <= scalars["reward/student_q99"]
