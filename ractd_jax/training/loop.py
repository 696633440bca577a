"""The one training loop, for every stage."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from absl import logging

from ractd_jax.errors import ConfigError
from ractd_jax.files import write_json
from ractd_jax.processes import check_devices, is_first_process, wait_for_all
from ractd_jax.settings import Run, differences
from ractd_jax.storage.checkpoint import FOLDER, Checkpointer
from ractd_jax.storage.state import TrainState
from ractd_jax.storage.workdir import (
    NAMES,
    Change,
    check_resumed,
    refuse_changes,
    training_folder,
)
from ractd_jax.training import parallel
from ractd_jax.training.calls import agreed, run_calls
from ractd_jax.training.interruption import Stop, interruptible
from ractd_jax.training.logging import MetricWriter, check_finite, keep_rows
from ractd_jax.training.progress import Progress
from ractd_jax.training.stages import Stage, gather_part
from ractd_jax.training.state import create_state, make_optimizer
from ractd_jax.training.streaming import stream_batches

# Steps fold in 0, 1, ...; the initial parameters fold in what no step reaches.
_INIT_FOLD = 2**32 - 1
_RECORDED_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def train(
    stage: Stage,
    run: Run,
    seed: int,
    workdir: str | os.PathLike,
    allow_config_change: bool = False,
) -> TrainState:
    """Trains `stage` in `workdir` to its last step, from its newest checkpoint if any.

    Args:
      stage: what to train.
      run: cadence of logs and checkpoints.
      seed: seed of the initial parameters and of every draw.
      workdir: gets ``checkpoints/``, ``metrics.jsonl``, ``tensorboard/``,
        ``config.json``, ``environment.json`` and ``training.json``.
      allow_config_change: whether to go on where the folder's config or data differ,
        with a warning.

    Returns:
      The final state.

    Raises:
      ConfigError: a cadence that is no multiple of ``run.steps_per_call``, a batch
        that the devices cannot share, or a folder of a training with another config.
      CheckpointError: there are checkpoints and none can be read, one could not be
        written, or they come from other data.
      WorkdirError: the folder cannot be written to, or another training runs in it.
      Interrupted: SIGTERM or SIGINT came; what was done until then is saved.
      FloatingPointError: a metric is not finite.
    """
    check_run(stage, run)
    workdir = Path(workdir)
    with training_folder(workdir), interruptible() as stop:
        state = _train(stage, run, seed, workdir, allow_config_change, stop)
        # For a signal that came while the last checkpoint was written.
        agreed(stop)
    stop.raise_at(stage.name, int(state.step), stage.num_steps)
    return state


def _train(
    stage: Stage,
    run: Run,
    seed: int,
    workdir: Path,
    allow_config_change: bool,
    stop: Stop,
) -> TrainState:
    settings = stage.metadata["settings"]
    renamed = _check_config(workdir, settings, stage.name, allow_config_change)
    checkpointer = Checkpointer(workdir, run.keep_checkpoints)
    optimizer = make_optimizer(stage.optimizer, stage.num_steps)
    init = init_fn(stage, seed, optimizer)
    state = checkpointer.restore(parallel.global_template(jax.eval_shape(init)))
    if state is None:
        state = parallel.replicate(jax.jit(init)())
    else:
        state = parallel.as_local(state)
        if int(state.step) < stage.num_steps:
            logging.info("%s: resuming from step %d", stage.name, int(state.step))
        metadata = checkpointer.metadata, stage.metadata
        check_resumed(workdir, *metadata, allow_config_change, renamed)
        _check_first_step(workdir, int(state.step), run)
    # All processes have read the folder's config.
    wait_for_all("config")
    if is_first_process():
        _write_config(workdir, stage)
    if int(state.step) >= stage.num_steps:
        checkpointer.close()
        if is_first_process():
            keep_rows(workdir / "metrics.jsonl", stage.num_steps)
        return state

    parallel.check_batch_size(stage.batch_size, f"{stage.name}.batch_size")
    sample_fn = None if stage.streaming else make_sample_fn(stage)
    train_call = parallel.make_train_call(
        steps_per_call=run.steps_per_call,
        seed=seed,
        sample_fn=sample_fn,
        method=stage.method,
        batch_size=stage.batch_size,
        optimizer=optimizer,
        settings=stage.optimizer,
        target_decay=stage.target_decay or 0.0,
    )
    start = int(state.step)
    wandb_config = settings if run.wandb else None
    writer = MetricWriter(workdir, start, wandb_config) if is_first_process() else None
    label = _label(stage, workdir)
    job = _Training(
        stage,
        label,
        run,
        state,
        train_call,
        _data_of_calls(stage, run, seed, start),
        checkpointer,
        writer,
    )
    run_calls(
        job,
        stage.name,
        start,
        stage.num_steps,
        run,
        stop,
        label=label,
        shows=writer is not None,
        checkpoints=workdir / FOLDER,
    )
    return job.state


def _label(stage: Stage, workdir: Path) -> str:
    """The stage, and the folder's name where that is another."""
    name = workdir.absolute().name
    return stage.name if name == stage.name else f"{name} ({stage.name})"


class _Training:
    """One training, as :class:`ractd_jax.training.calls.Job`."""

    def __init__(
        self, stage, label, run, state, train_call, data, checkpointer, writer
    ):
        self.state, self._label = state, label
        self._stage, self._run, self._call, self._data = stage, run, train_call, data
        self._frozen = parallel.replicate(stage.frozen)
        self._checkpointer, self._writer = checkpointer, writer
        self._timer = _Timer(int(state.step))
        self._info: dict[str, jax.Array] | None = None

    def advance(self, step: int) -> None:
        before, data = self._info, next(self._data)
        with jax.transfer_guard("disallow"):
            self.state, self._info = self._call(self.state, self._frozen, data)
        # At most two calls in flight: more gain nothing, and on several CPU devices a
        # long queue of collectives can abort the process.
        jax.block_until_ready(before)

    def log(self, step: int, progress: Progress) -> None:
        scalars = _scalars(self._info) | self._timer.rate(step)
        if self._stage.probe is not None:
            found = self._stage.probe(self.state, self._label)
            scalars |= {name: float(value) for name, value in found.items()}
        check_finite(scalars, step - self._run.steps_per_call, step)
        if self._writer is not None:
            self._writer.write(step, scalars)
        progress.show(scalars)

    def save(self, step: int, logged: bool) -> None:
        if not logged:
            check_finite(_scalars(self._info), step - self._run.steps_per_call, step)
        self._checkpointer.save(parallel.as_global(self.state), self._stage.metadata)

    def after_save(self, step: int) -> None:
        """Nothing uses a checkpoint of a single training."""

    def close(self) -> None:
        self._checkpointer.close()
        if self._writer is not None:
            self._writer.close()


def make_sample_fn(stage: Stage) -> parallel.SampleFn:
    """Draws a part of a global batch from the data on the device, inside the step."""

    def sample_fn(data, key, part=parallel.WHOLE):
        shape = stage.rows_shape(stage.batch_size)
        rows = jax.random.randint(key, shape, 0, stage.num_rows)
        return gather_part(stage, data, rows, part)

    return sample_fn


def _data_of_calls(stage: Stage, run: Run, seed: int, start: int) -> Iterator[Any]:
    """The data of each compiled call: the same resident arrays, or its own batches."""
    if not stage.streaming:
        yield from itertools.repeat(parallel.replicate(stage.data))
    calls = stream_batches(stage, seed, start, run.steps_per_call)
    yield from map(parallel.split_over_devices, calls)


def init_fn(
    stage: Stage, seed: jax.typing.ArrayLike, optimizer
) -> Callable[[], TrainState]:
    """() -> the state at step 0."""

    def init():
        key = jax.random.fold_in(jax.random.key(seed), _INIT_FOLD)
        with_target = stage.target_decay is not None
        return create_state(stage.init_params(key), optimizer, with_target)

    return init


class _Timer:
    """Steps per second, without the first interval, which compiles."""

    def __init__(self, step: int):
        self._step, self._time, self._compiled = step, time.perf_counter(), False

    def rate(self, step: int) -> dict[str, float]:
        now = time.perf_counter()
        rate = (step - self._step) / (now - self._time)
        name = "time/steps_per_s" if self._compiled else "time/first_steps_per_s"
        self._step, self._time, self._compiled = step, now, True
        return {name: rate}


def _scalars(info: Mapping[str, jax.Array]) -> dict[str, float]:
    return {name: float(value) for name, value in jax.device_get(info).items()}


def check_run(stage: Stage, run: Run) -> None:
    """Raises ConfigError for what a training would stumble over later.

    That is steps, logs or checkpoints that do not fall between calls, and a logger
    that is not installed.
    """
    if run.wandb and importlib.util.find_spec("wandb") is None:
        raise ConfigError(
            "config.run.wandb: expected the wandb package (pip install "
            "ractd_jax[wandb]), found none"
        )
    check_devices()
    cadences = {
        f"config.{stage.name}.num_steps": stage.num_steps,
        "config.run.log_every": run.log_every,
        "config.run.checkpoint_every": run.checkpoint_every,
    }
    for name, value in cadences.items():
        if value % run.steps_per_call:
            raise ConfigError(
                f"{name}: expected a multiple of config.run.steps_per_call = "
                f"{run.steps_per_call}, found {value}"
            )


def _check_first_step(workdir: Path, step: int, run: Run) -> None:
    if step % run.steps_per_call:
        raise ConfigError(
            f"config.run.steps_per_call: expected a divisor of {step}, the step of the "
            f"checkpoint in {workdir}, found {run.steps_per_call}"
        )


def _check_config(
    workdir: Path, settings: dict, stage: str, allow_change: bool
) -> list[Change]:
    """Refuses a folder made with another config.

    Returns:
      The changes of :data:`NAMES`, for :func:`check_resumed`.
    """
    path = workdir / "config.json"
    if not path.exists():
        return []
    settings = json.loads(json.dumps(settings))
    sections = ("task", "seed", "dataset", "plan", "network", "diffusion", stage)
    changes = [
        change
        for change in differences(_read_config(path), settings)
        if change[0].split(".")[0] in sections
    ]
    refuse_changes(workdir, [c for c in changes if c[0] not in NAMES], allow_change)
    return [change for change in changes if change[0] in NAMES]


def _write_config(workdir: Path, stage: Stage) -> None:
    """Records config, versions, devices, and what is trained for how long."""
    write_json(workdir / "config.json", stage.metadata["settings"])
    about = {"stage": stage.name, "num_steps": stage.num_steps}
    write_json(workdir / "training.json", about)
    versions = {name: importlib.metadata.version(name) for name in _RECORDED_PACKAGES}
    devices = [str(device) for device in jax.devices()]
    write_json(workdir / "environment.json", {**versions, "devices": devices})


def _read_config(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ConfigError(
            f"{path}: expected the config of the training in this folder as JSON, "
            f"found {error}; remove the file if this config is the one"
        ) from None
