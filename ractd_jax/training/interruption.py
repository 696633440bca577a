"""Signals that stop a training between two compiled calls, with nothing lost."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(Exception):
    """A training that a signal stopped has saved its state. This is not an error."""


class Stop:
    """Whether a signal has asked the training to stop.

    Attributes:
      signal: name of the signal; empty before one arrives.
    """

    def __init__(self):
        self.signal = ""

    def raise_at(self, stage: str, step: int, num_steps: int) -> None:
        """Raises Interrupted, which names the step, if a signal has arrived."""
        if self.signal:
            raise Interrupted(
                f"{stage}: stopped by {self.signal} at step {step} of {num_steps}; "
                "the same command goes on from there"
            )


@contextlib.contextmanager
def interruptible() -> Iterator[Stop]:
    """Turns the first SIGTERM or SIGINT into a flag; a second one acts as usual.

    Only the main thread can handle signals; in other threads this does nothing.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore():
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def handle(number, frame):
        stop.signal = signal.Signals(number).name
        restore()
        # Not print: the signal may have come in the middle of one.
        text = f"\n{stop.signal}: finishing this call and saving; again to stop now\n"
        with contextlib.suppress(OSError):
            os.write(2, text.encode())

    for number in _SIGNALS:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        restore()
