"""The loop: resume, replicas, damaged checkpoints, guards, switches; two devices."""

import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ractd_jax.errors import CheckpointError, ConfigError
from ractd_jax.settings import Optimizer, from_mapping
from ractd_jax.storage.checkpoint import Checkpointer, StoredModel
from ractd_jax.training import parallel
from ractd_jax.training.loop import train
from ractd_jax.training.stages import (
    plan_stage,
    reward_stage,
    split_episodes,
)
from ractd_jax.training.state import create_state, ema_decay, make_optimizer
from ractd_jax.training.streaming import batches_of_call
from tests.conftest import ROOT, SMOKE_FLAGS, run_main
from tests.toys import with_loss
from tests.training.conftest import small_settings


def same_trees(a, b) -> bool:
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(np.asarray(x), np.asarray(y)) for x, y in leaves)


def run_steps(settings, dataset, workdir, until=None):
    """Trains the reward stage to its end, or as if cut off after `until` steps."""
    stage = reward_stage(settings, dataset)
    if until is None:
        return train(stage, settings.run, settings.seed, workdir)
    real = parallel.make_train_call

    def cut(**options):
        call = real(**options)

        def counted(state, frozen, data):
            if int(jax.device_get(state.step)) >= until:
                raise KeyboardInterrupt
            return call(state, frozen, data)

        return counted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "make_train_call", cut)
        with pytest.raises(KeyboardInterrupt):
            train(stage, settings.run, settings.seed, workdir)
    return None


@pytest.fixture(scope="module")
def whole(dataset, tmp_path_factory):
    """The last state of an uninterrupted training."""
    return run_steps(small_settings(), dataset, tmp_path_factory.mktemp("whole"))


def test_two_devices_are_in_use():
    assert jax.local_device_count() == 2


def test_resumed_equals_uninterrupted_bit_for_bit(dataset, whole, tmp_path):
    settings = small_settings()
    run_steps(settings, dataset, tmp_path / "cut", until=4)
    resumed = run_steps(settings, dataset, tmp_path / "cut")
    assert int(resumed.step) == 8
    assert same_trees(whole, resumed)
    rows = (tmp_path / "cut/metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [2, 4, 6, 8]


def test_a_finished_training_is_not_run_again(dataset, tmp_path):
    settings = small_settings()
    run_steps(settings, dataset, tmp_path)
    before = (tmp_path / "metrics.jsonl").stat().st_mtime_ns
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "make_train_call", None)
        state = run_steps(settings, dataset, tmp_path)
    assert int(state.step) == 8
    assert (tmp_path / "metrics.jsonl").stat().st_mtime_ns == before


def damage(checkpoint, how: str) -> None:
    """Cuts the largest file of array data in half, or removes it."""
    files = [
        path
        for path in checkpoint.rglob("d/*")
        if not path.parents[1].name.startswith("ocdbt")
    ]
    victim = max(files, key=lambda path: path.stat().st_size)
    if how == "removed":
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])


@pytest.mark.parametrize("how", ["cut", "removed"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    dataset, whole, tmp_path, caplog, how
):
    settings = small_settings()
    run_steps(settings, dataset, tmp_path / "run", until=6)
    damage(tmp_path / "run/checkpoints/6", how)
    with caplog.at_level(logging.WARNING, logger="absl"):
        resumed = run_steps(settings, dataset, tmp_path / "run")
    assert "checkpoints/6 is damaged" in caplog.text
    assert same_trees(whole, resumed)


def test_readers_fall_back_too_and_refuse_when_nothing_is_left(dataset, tmp_path):
    settings = small_settings()
    run_steps(settings, dataset, tmp_path)
    stage = reward_stage(settings, dataset)
    template = jax.eval_shape(stage.init_params, jax.random.key(0))
    damage(tmp_path / "checkpoints/8/ema_params", "removed")
    stored = StoredModel(tmp_path)
    params = stored.load(template)
    assert stored.step == 6
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, template)
    damage(tmp_path / "checkpoints/6/ema_params", "removed")
    with pytest.raises(CheckpointError, match=r"none of the checkpoints \[8, 6\]"):
        StoredModel(tmp_path).load(template)
    with pytest.raises(CheckpointError, match="checkpoints"):
        StoredModel(tmp_path / "nowhere")


def test_replicas_agree_and_average_their_gradients():
    """Three pmapped steps leave both devices with the state of the whole batch."""

    def sample_fn(data, key, part=parallel.WHOLE):
        return part.of(data[jax.random.randint(key, (8,), 0, data.shape[0])])

    settings = Optimizer(learning_rate=0.1, warmup_steps=0, schedule="constant")
    optimizer = make_optimizer(settings, 3)
    state = parallel.replicate(create_state({"w": jnp.zeros(())}, optimizer, False))
    data = parallel.replicate(jnp.arange(64.0))

    def loss_fn(params, target_params, frozen, batch, noise):
        loss = jnp.mean(jnp.square(params["w"] - batch + noise))
        return loss, {"loss/total": loss}

    def draw(key, batch_size):
        return jax.random.normal(key, (batch_size,))

    call = parallel.make_train_call(
        steps_per_call=3,
        seed=0,
        sample_fn=sample_fn,
        method=SimpleNamespace(draw=draw, loss=loss_fn),
        batch_size=8,
        optimizer=optimizer,
        settings=settings,
        target_decay=0.0,
    )
    state, _ = call(state, {}, data)
    copies = [np.asarray(s.data) for s in state.params["w"].addressable_shards]
    assert len(copies) == 2 and copies[0] == copies[1] != 0.0

    params, opt_state = {"w": jnp.zeros(())}, optimizer.init({"w": jnp.zeros(())})
    for step in range(3):
        key = jax.random.fold_in(jax.random.key(0), step)
        sample_key, key = jax.random.split(key)
        batch = sample_fn(jnp.arange(64.0), sample_key)
        noise = jax.random.normal(key, (8,))
        grads = jax.grad(
            lambda p, batch, noise: jnp.mean(jnp.square(p["w"] - batch + noise))
        )(params, batch, noise)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(copies[0], params["w"], rtol=1e-6)


def test_ema_starts_as_a_copy_and_follows_the_schedule():
    settings = Optimizer()
    decay = [float(ema_decay(jnp.array(step), settings)) for step in (0, 1, 999, 10**7)]
    np.testing.assert_allclose(
        decay, [0.0, 1 - 2**-0.75, 1 - 1000**-0.75, 0.9999], rtol=1e-5
    )
    params = {"w": jnp.ones(2)}
    state = create_state(params, make_optimizer(settings, 10), True)
    pointers = {
        tree["w"].unsafe_buffer_pointer()
        for tree in (state.params, state.ema_params, state.target_params)
    }
    assert len(pointers) == 3


def test_learning_rate_warms_up_and_decays():
    optimizer = make_optimizer(
        Optimizer(learning_rate=1.0, weight_decay=0.0, warmup_steps=4), 8
    )
    params = {"w": jnp.zeros(())}
    state, sizes = optimizer.init(params), []
    for _ in range(8):
        updates, state = optimizer.update({"w": jnp.ones(())}, state, params)
        sizes.append(-float(updates["w"]))
    np.testing.assert_allclose(sizes[:5], [0, 0.25, 0.5, 0.75, 1.0], atol=1e-5)
    assert 1.0 > sizes[5] > sizes[6] > sizes[7] > 0.0


def test_bad_cadence_batch_and_workdir_are_named(dataset, tmp_path):
    stage = reward_stage(small_settings(), dataset)
    run = dataclasses.replace(small_settings().run, log_every=3)
    with pytest.raises(ConfigError, match="config.run.log_every"):
        train(stage, run, 0, tmp_path / "a")
    odd = small_settings(reward={"batch_size": 7})
    with pytest.raises(ConfigError, match=r"config.reward.batch_size.*2 devices"):
        run_steps(odd, dataset, tmp_path / "b")
    run_steps(small_settings(), dataset, tmp_path / "c")
    other = small_settings(reward={"discount": 0.9})
    with pytest.raises(ConfigError, match=r"reward.discount: 0.997 then, 0.9 now"):
        run_steps(other, dataset, tmp_path / "c")


@pytest.mark.parametrize("log_every", [2, 8])
def test_a_non_finite_loss_stops_the_training(dataset, tmp_path, log_every):
    """Before it is saved, also where nothing is logged."""
    settings = small_settings(run={"log_every": log_every})
    stage = reward_stage(settings, dataset)

    def broken(*args):
        loss, info = stage.method.loss(*args)
        return loss * jnp.nan, {"loss/mse": info["loss/mse"] * jnp.nan}

    broken_stage = with_loss(stage, broken)
    with pytest.raises(FloatingPointError, match=r"loss/mse.*steps 1\.\.2"):
        train(broken_stage, settings.run, 0, tmp_path)
    assert Checkpointer(tmp_path).latest_step() is None


def streaming_settings():
    return small_settings(dataset={"streaming": True})


def test_streamed_batches_follow_the_resident_law(dataset):
    """Every window is drawn, equally often; batches are the windows they name."""
    stage = plan_stage("teacher", streaming_settings(), dataset)
    assert stage.streaming and stage.num_rows == 120
    batch = batches_of_call(stage, 0, 0, 400)
    assert batch.plans.shape == (2, 400, 4, 4, 2)
    flat = batch.condition["observations"].reshape(-1, 3)
    everything = stage.gather(stage.data, np.arange(120))
    states = everything.condition["observations"][:, 0]
    matches = (flat[:, None] == states[None]).all(-1)
    assert (matches.sum(axis=1) == 1).all()
    plans = batch.plans.reshape(-1, 4, 2)
    np.testing.assert_array_equal(plans, everything.plans[matches.argmax(axis=1)])
    counts = matches.sum(axis=0)
    # 3,200 uniform draws over 120 windows: 119 degrees of freedom.
    chi_square = ((counts - 3200 / 120) ** 2 / (3200 / 120)).sum()
    assert 60 < chi_square < 200
    again = batches_of_call(stage, 0, 200, 1)
    np.testing.assert_array_equal(again.plans[:, 0], batch.plans[:, 200])


@pytest.mark.slow
def test_streaming_resumes_bit_for_bit(dataset, tmp_path):
    settings = streaming_settings()
    whole = run_steps(settings, dataset, tmp_path / "whole")
    run_steps(settings, dataset, tmp_path / "cut", until=4)
    assert same_trees(whole, run_steps(settings, dataset, tmp_path / "cut"))
    assert int(whole.step) == 8


def test_gather_on_the_device_equals_gather_on_the_host(dataset):
    """One function, numpy or traced: what the two paths train on is the same."""
    rows = np.arange(0, 108, 7)
    for stage in (
        plan_stage("teacher", small_settings(), dataset),
        reward_stage(small_settings(), dataset),
    ):
        host = stage.gather(stage.data, rows)
        device = jax.jit(stage.gather)(jax.device_put(stage.data), rows)
        leaves = jax.tree.leaves(host), jax.tree.leaves(device)
        for a, b in zip(*leaves, strict=True):
            assert a.dtype == b.dtype == np.float32
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_held_out_episodes_are_whole_and_apart():
    starts = np.array([0, 3, 10, 11, 20])
    train_rows, held = split_episodes(starts, 0.5, seed=1)
    assert sorted([*train_rows, *held]) == list(range(20))
    for start, stop in zip(starts[:-1], starts[1:], strict=True):
        inside = np.isin(np.arange(start, stop), held)
        assert inside.all() or not inside.any()
    assert len(split_episodes(np.array([0, 5]), 0.9, 0)[0]) == 5


@pytest.mark.slow
def test_a_killed_teacher_resumes_to_the_same_parameters(smoke_run, tmp_path):
    """kill -9 in the middle of the real main, on two devices, then the same command."""
    flags = [
        *SMOKE_FLAGS,
        f"--config.dataset.root={smoke_run / 'datasets'}",
        f"--workdir={tmp_path}",
    ]
    command = [sys.executable, "-m", "experiments.train_teacher", *flags]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "checkpoints/4"
    deadline = time.monotonic() + 240
    while not checkpoint.exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    resumed = run_main("train_teacher", *flags)
    assert (
        "resuming from step" in resumed.stderr or (tmp_path / "checkpoints/8").exists()
    )
    stage_dirs = [smoke_run / "teacher", tmp_path]
    arrays = [_all_params(folder) for folder in stage_dirs]
    assert same_trees(*arrays)


def _all_params(folder):
    stored = StoredModel(folder)
    assert stored.step == 8
    settings = from_mapping(stored.metadata["settings"])
    from ractd_jax.dimensions import Dimensions
    from ractd_jax.methods import EdmTeacher

    dims = Dimensions(**stored.metadata["dimensions"])
    teacher = EdmTeacher.from_settings(settings, dims)
    template = jax.eval_shape(teacher.init, jax.random.key(0))
    return stored.load(template, "raw"), stored.load(template, "ema")
