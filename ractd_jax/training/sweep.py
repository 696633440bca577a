"""Many trainings of one stage as one program: a grid of values and seeds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from ractd_jax.errors import ConfigError
from ractd_jax.losses import StudentCoefficients
from ractd_jax.settings import Run
from ractd_jax.storage.checkpoint import Checkpointer
from ractd_jax.storage.state import TrainState
from ractd_jax.storage.workdir import check_resumed, training_folder
from ractd_jax.training import parallel
from ractd_jax.training.calls import run_calls
from ractd_jax.training.grid import NONE, Grid
from ractd_jax.training.interruption import interruptible
from ractd_jax.training.logging import MetricWriter
from ractd_jax.training.loop import check_run, init_fn, make_sample_fn
from ractd_jax.training.progress import Progress
from ractd_jax.training.stages import Stage
from ractd_jax.training.state import make_optimizer

# (step, states with leaves [M, ...], [M] whether each is still finite)
OnCheckpoint = Callable[[int, TrainState, np.ndarray], None]


def train_grid(
    stage: Stage,
    grid: Grid,
    run: Run,
    workdir: str | os.PathLike,
    on_checkpoint: OnCheckpoint | None = None,
) -> tuple[TrainState, np.ndarray]:
    """Trains a grid to its last step, resuming what is in `workdir`.

    The states of all members form one checkpoint in `workdir`. Each member has its own
    metrics, in ``members/NAME/metrics.jsonl``.

    Args:
      stage: the stage that all members train, each with its values.
      grid: seeds and values, M = S V members.
      run: cadence of logs and checkpoints.
      workdir: folder of the grid.
      on_checkpoint: called after each checkpoint, and once more after a resume.

    Returns:
      (states with leaves [M, ...], [M] whether each is still finite).

    Raises:
      ConfigError: a cadence that is no multiple of ``run.steps_per_call``, or streamed
        data, or several processes.
      CheckpointError, WorkdirError, Interrupted: see :func:`loop.train`.
    """
    with training_folder(Path(workdir)), interruptible() as stop:
        return _train_grid(stage, grid, run, Path(workdir), on_checkpoint, stop)


def _train_grid(stage, grid, run, workdir, on_checkpoint, stop):
    check_run(stage, run)
    if stage.streaming:
        raise ConfigError("config.dataset.streaming: expected False in a sweep")
    if jax.process_count() > 1:
        raise ConfigError("--distributed: a sweep uses the devices of one process")
    members = grid.members
    num_seeds, count = len(grid.seeds), len(members)
    local = jax.local_device_count()
    devices = max(d for d in range(1, local + 1) if num_seeds % d == 0)

    def split(tree):
        shape = devices, num_seeds // devices, len(grid.values)
        tree = jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), tree)
        return parallel.split_over_devices(tree, devices)

    def joined(tree):
        return jax.tree.map(lambda x: x.reshape(count, *x.shape[3:]), tree)

    call = parallel.make_members_call(
        steps_per_call=run.steps_per_call,
        num_devices=devices,
        sample_fn=make_sample_fn(stage),
        make_optimizer_fn=lambda rate: make_optimizer(
            stage.optimizer, stage.num_steps, rate
        ),
        method=stage.method,
        batch_size=stage.batch_size,
        settings=stage.optimizer,
        target_decay=stage.target_decay or 0.0,
    )
    checkpointer = Checkpointer(workdir, run.keep_checkpoints)
    states, step = _first_states(stage, members, workdir, checkpointer)
    saved = step == stage.num_steps or step % run.checkpoint_every == 0
    if step and saved and on_checkpoint is not None:
        on_checkpoint(step, states, still_finite(states, step))
    seeds = np.array(grid.seeds, np.int32).reshape(devices, -1)
    seeds = parallel.split_over_devices(seeds, devices)
    values, frozen, data = parallel.replicate(
        (stacked_values(stage, grid), stage.frozen, stage.data), devices
    )

    def advance(states, step):
        first = parallel.replicate(np.int32(step), devices)
        with jax.transfer_guard("disallow"):
            return call(states, seeds, values, first, frozen, data)

    job = _GridTraining(
        stage,
        members,
        workdir,
        checkpointer,
        split(states),
        step,
        advance=advance,
        joined=joined,
        on_checkpoint=on_checkpoint,
    )
    label = f"{stage.name} x {count}"
    run_calls(job, stage.name, step, stage.num_steps, run, stop, label=label)
    states = joined(job.states)
    return states, still_finite(states, stage.num_steps)


class _GridTraining:
    """The trainings of a grid, as :class:`ractd_jax.training.calls.Job`.

    Args:
      stage: what each trains.
      members: M, of the grid.
      workdir: of the grid.
      checkpointer: of all members' states.
      states: at step `start`, as the compiled call takes them.
      start: first step.
      advance: (states, step) -> (states, scalars) K steps later.
      joined: states or scalars of the compiled call -> leaves [M, ...].
      on_checkpoint: called after each checkpoint, or None.
    """

    def __init__(
        self,
        stage,
        members,
        workdir,
        checkpointer,
        states,
        start,
        *,
        advance,
        joined,
        on_checkpoint,
    ):
        self.states = states
        self._stage, self._members, self._checkpointer = stage, members, checkpointer
        self._advance, self._joined = advance, joined
        self._on_checkpoint = on_checkpoint
        self._writers = [
            MetricWriter(workdir / "members" / member.name, start) for member in members
        ]
        self._infos: dict[str, jax.Array] = {}
        self._reported: set[str] = set()

    def advance(self, step: int) -> None:
        self.states, self._infos = self._advance(self.states, step)
        jax.block_until_ready(self._infos)

    def log(self, step: int, progress: Progress) -> None:
        states, infos = self._joined(self.states), self._joined(self._infos)
        rows = _rows(self._stage, states, infos, self._members, step, self._reported)
        for writer, row in zip(self._writers, rows, strict=True):
            if row:
                writer.write(step, row)

    def save(self, step: int, logged: bool) -> None:
        states = self._joined(self.states)
        self._checkpointer.save(states, self._stage.metadata, step)

    def after_save(self, step: int) -> None:
        if self._on_checkpoint is not None:
            states = self._joined(self.states)
            self._on_checkpoint(step, states, still_finite(states, step))

    def close(self) -> None:
        self._checkpointer.close()
        for writer in self._writers:
            writer.close()


def _first_states(stage, members, workdir, checkpointer) -> tuple[TrainState, int]:
    """States [M, ...] of the newest checkpoint, or fresh ones, and their step."""
    optimizer = make_optimizer(stage.optimizer, stage.num_steps)

    def init(seed):
        return init_fn(stage, seed, optimizer)()

    seeds = jnp.array([member.seed for member in members])
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    template = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        jax.eval_shape(jax.vmap(init), seeds),
    )
    states = checkpointer.restore(template)
    if states is None:
        # One after the other, as alone: vmap may round draws differently.
        init = jax.jit(init)
        every = [init(seed) for seed in seeds]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *every), 0
    check_resumed(workdir, checkpointer.metadata, stage.metadata, False)
    step = checkpointer.restored_step
    logging.info("%s x %d: resuming from step %d", stage.name, len(members), step)
    return states, step


def stacked_values(stage: Stage, grid: Grid) -> dict:
    """The `values` of :func:`parallel.make_members_call`, leaves [V]."""

    def stacked(name, default):
        """[V]; None where no member has a number."""
        values = [value.get(name, default) for value in grid.values]
        if all(value is None for value in values):
            return None
        numbers = [NONE[name] if value is None else value for value in values]
        return np.array(numbers, np.float32)

    found = {"learning_rate": stacked("learning_rate", stage.optimizer.learning_rate)}
    coefficients = stage.frozen.get("coefficients")
    if coefficients is not None:
        of_all = coefficients._asdict().items()
        found["coefficients"] = StudentCoefficients(
            **{name: stacked(name, value) for name, value in of_all}
        )
    return found


def still_finite(states: TrainState, step: int) -> np.ndarray:
    """[M] whether each member has made all its steps."""
    return np.ravel(jax.device_get(states.step)) == step


def _rows(stage, states, infos, members, step, reported) -> list[dict[str, float]]:
    """Scalars of each member; a member that is not finite has none, and one warning."""
    infos, finite = jax.device_get(infos), still_finite(states, step)
    rows = []
    for i, member in enumerate(members):
        row = {}
        if finite[i]:
            row = {name: float(x[i]) for name, x in infos.items()}
            if stage.probe is not None:
                state = jax.tree.map(lambda leaf, i=i: leaf[i], states)
                found = stage.probe(state, member.name)
                row |= {name: float(value) for name, value in found.items()}
        elif member.name not in reported:
            reported.add(member.name)
            logging.warning(
                "%s is not finite by step %d: it stays as it was, the others go on",
                member.name,
                step,
            )
        rows.append(row)
    return rows
