"""What a training shows while it runs: one live line, or plain lines in a file."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from absl import logging as absl_logging
from tqdm import tqdm

# Between two plain lines, in seconds.
INTERVAL = 15.0
_LIVE = (
    "{desc} |{bar:8}| {n_fmt}/{total_fmt}, {rate_noinv_fmt}, {remaining} left{postfix}"
)
_PACKAGE = str(Path(__file__).parents[1])


class Progress:
    """The progress of one training, on stderr.

    On a terminal it is one line, drawn over; in a file or pipe a line at most every
    :data:`INTERVAL` seconds, and no carriage return. Either way :meth:`finish` leaves
    one line.

    Args:
      label: the training's name.
      start: first step.
      num_steps: last one.
      shows: whether anything is shown.
    """

    def __init__(self, label: str, start: int, num_steps: int, shows: bool = True):
        self._label, self._num_steps, self._shows = label, num_steps, shows
        self._start = self._step = start
        self._began = self._shown = time.perf_counter()
        # (step, time) of the first report, before which the step was compiled.
        self._compiled: tuple[int, float] | None = None
        self._about = ""
        self._bar: tqdm | None = None

    def __enter__(self) -> Progress:
        if self._shows and sys.stderr.isatty():
            self._bar = tqdm(
                total=self._num_steps,
                initial=self._start,
                desc=self._label,
                unit=" steps",
                bar_format=_LIVE,
                dynamic_ncols=True,
                leave=False,
                file=sys.stderr,
            )
            absl_logging.get_absl_handler().addFilter(self._clear)
        return self

    def __exit__(self, *_) -> None:
        if self._bar is not None:
            absl_logging.get_absl_handler().removeFilter(self._clear)
            self._bar.close()

    def _clear(self, record: logging.LogRecord) -> bool:
        """Takes the live line away for a line of the log."""
        self._bar.clear()
        return True

    def advance(self, num_steps: int) -> None:
        """Counts steps that were made."""
        self._step += num_steps
        if self._bar is not None:
            self._bar.update(num_steps)

    def show(self, scalars: Mapping[str, float]) -> None:
        """Takes the scalars of a logged step, of which a few are shown."""
        self._about = describe(scalars)
        if self._bar is not None:
            self._bar.set_postfix_str(describe(scalars, short=True), refresh=False)

    def report(self) -> None:
        """Prints a plain line when one is due; called after each logged step."""
        now = time.perf_counter()
        if first := self._compiled is None:
            self._compiled = self._step, now
        due = first or now - self._shown >= INTERVAL
        done = self._step >= self._num_steps
        if not self._shows or self._bar is not None or done or not due:
            return
        self._shown, rate = now, self._rate(now)
        left = _duration((self._num_steps - self._step) / rate)
        speed = f"{rate:.3g} steps/s, {left} left"
        if first:
            speed = f"{_duration(now - self._began)} with compilation"
        where = f"step {self._step} of {self._num_steps}"
        self._print([f"{where}, {speed}", self._about])

    def finish(self, checkpoint: Path | None = None) -> None:
        """Prints the training's summary.

        Args:
          checkpoint: its folder, named where it is given.
        """
        now, made = time.perf_counter(), self._step - self._start
        if not self._shows or not made:
            return
        took = f"{made} steps in {_duration(now - self._began)}"
        if self._start:
            took = f"steps {self._start + 1} to {self._step}, {took}"
        found = f"checkpoint {checkpoint}" if checkpoint else ""
        self._print([f"{took}, {self._rate(now):.3g} steps/s", self._about, found])

    def _rate(self, now: float) -> float:
        """Steps per second, without the first report's where there are others."""
        step, since = self._start, self._began
        if self._compiled is not None and self._compiled[0] < self._step:
            step, since = self._compiled
        return (self._step - step) / max(now - since, 1e-9)

    def _print(self, parts: list[str]) -> None:
        # Nothing to see is no reason to lose a training: a closed pipe, a full disk.
        with contextlib.suppress(OSError):
            text = "; ".join(part for part in parts if part)
            print(f"{self._label}: {text}", file=sys.stderr, flush=True)


def describe(scalars: Mapping[str, float], short: bool = False) -> str:
    """The few scalars that say how a training does, in words.

    Args:
      scalars: of a logged step.
      short: for the live line, which may be cut off: what says most comes first.
    """
    digits = 2 if short else 3
    losses = [
        f"{name.removeprefix('loss/').replace('held_out', 'held-out')} "
        f"{value:.{digits}g}"
        for name, value in scalars.items()
        if name.startswith("loss/")
    ]
    if len(losses) > 1:  # `total` is a sum of the others
        losses = [text for text in losses if not text.startswith("total ")]
    parts = [f"loss {', '.join(losses).replace('_', ' ')}"] if losses else []
    measures = list(_measures(scalars, short))
    return "; ".join(measures + parts if short else parts + measures)


def _measures(scalars: Mapping[str, float], short: bool) -> Iterator[str]:
    for name, words, few in (
        ("fidelity/spread", "spread {:.2f} of the teacher's", "spread {:.2f}"),
        ("rank/values", "rank correlation {:.2f}", "rank {:.2f}"),
        ("accuracy", "accuracy {:.2f}", "accuracy {:.2f}"),
    ):
        if name in scalars:
            yield (few if short else words).format(scalars[name])
    predicted = [scalars.get(f"reward/{who}_median") for who in ("student", "data")]
    if None not in predicted:
        values = "return {:.4g} (data {:.4g})".format(*predicted)
        yield values if short else f"predicted {values}"


def _duration(seconds: float) -> str:
    """``1:05`` or ``2:01:05``."""
    return tqdm.format_interval(round(seconds)).removeprefix("0")


class _Collector(logging.Handler):
    """Keeps the texts of this package's warnings, each once."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())
        if record.pathname.startswith(_PACKAGE) and text not in self.texts:
            self.texts.append(text)


@contextlib.contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """A list that gets what this package warns of inside, in order."""
    collector, logger = _Collector(), absl_logging.get_absl_logger()
    logger.addHandler(collector)
    try:
        yield collector.texts
    finally:
        logger.removeHandler(collector)
