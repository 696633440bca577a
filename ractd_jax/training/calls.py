"""The loop over compiled calls, which a training and a grid of trainings share."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import jax

from ractd_jax.processes import any_process
from ractd_jax.settings import Run
from ractd_jax.training.interruption import Stop
from ractd_jax.training.progress import Progress


class Job(Protocol):
    """What is trained, one compiled call of K steps at a time."""

    def advance(self, step: int) -> None:
        """Makes steps `step` to step + K - 1."""

    def log(self, step: int, progress: Progress) -> None:
        """Writes, and may show, the scalars of the last call, which ended at `step`."""

    def save(self, step: int, logged: bool) -> None:
        """Saves a checkpoint at `step`; `logged` when the call's scalars were."""

    def after_save(self, step: int) -> None:
        """Uses the checkpoint at `step`, one of ``run.checkpoint_every``."""

    def close(self) -> None:
        """Waits for what is being written."""


def agreed(stop: Stop) -> bool:
    """Whether a signal came to any process; then all of them stop."""
    stopped = any_process(bool(stop.signal))
    if stopped:
        stop.signal = stop.signal or "a signal to another process"
    return stopped


def run_calls(
    job: Job,
    name: str,
    start: int,
    num_steps: int,
    run: Run,
    stop: Stop,
    *,
    label: str | None = None,
    shows: bool = True,
    checkpoints: Path | None = None,
) -> None:
    """Calls `job` from step `start` to `num_steps`, and closes it.

    Args:
      job: what is trained.
      name: of the stage.
      start: first step.
      num_steps: last one.
      run: K, and when to log and to save.
      stop: set when a signal came.
      label: what its progress and its warnings call it, if not the name.
      shows: whether its progress is shown.
      checkpoints: their folder, which the summary names.

    Raises:
      Interrupted: a signal came; what was done until then is saved.
    """
    size = run.steps_per_call
    progress = Progress(label or name, start, num_steps, shows)
    try:
        with progress:
            for step in range(start + size, num_steps + 1, size):
                job.advance(step - size)
                progress.advance(size)
                last = step == num_steps
                logs = last or step % run.log_every == 0
                saves = last or step % run.checkpoint_every == 0
                if logs:
                    job.log(step, progress)
                    progress.report()
                # Asked once: what is stopped here is saved here.
                # Several processes agree, for which their devices wait: not each call.
                asks = logs or saves or jax.process_count() == 1
                stopped = asks and agreed(stop)
                if saves or stopped:
                    job.save(step, logs)
                if stopped:
                    stop.raise_at(name, step, num_steps)
                if saves:
                    job.after_save(step)
    finally:
        # Also when interrupted: a save under way is worth waiting for.
        job.close()
    progress.finish(checkpoints and checkpoints / str(num_steps))
