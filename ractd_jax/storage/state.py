"""The training state, as checkpoints hold it."""

from __future__ import annotations

from typing import Any

import jax
from flax import struct


class TrainState(struct.PyTreeNode):
    """Everything that a step changes.

    Attributes:
      step: int32, optimiser steps done.
      params: the trained parameters.
      ema_params: their moving average, what is evaluated.
      target_params: slower copy that CTM targets come from, or None where the
        targets use a stop-gradient of `params`.
      opt_state: the optimiser's state.
    """

    step: jax.Array
    params: Any
    ema_params: Any
    target_params: Any
    opt_state: Any
