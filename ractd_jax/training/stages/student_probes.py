"""Metrics hooks of a student's training: its fidelity and its predicted return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging

from ractd_jax.methods import CtmStudent, PlanBatch, Rating
from ractd_jax.normalizers import MinMaxNormalizer
from ractd_jax.settings import Settings
from ractd_jax.storage.state import TrainState
from ractd_jax.student import fidelity
from ractd_jax.training.stages.base import Probe
from ractd_jax.training.stages.student_points import (
    NOISES,
    Samples,
    init_noise,
    one_step_plans,
)

_LEAST_SPREAD = 0.5
PROBED_STATES = 256


def join_probes(*probes: Probe) -> Probe:
    """One probe with the scalars of all."""

    def probe(state, training):
        found = [each(state, training) for each in probes]
        return {name: value for each in found for name, value in each.items()}

    return probe


def _first_device(tree):
    """The first device's copy: replicas agree, and a probe runs on one device."""
    return jax.device_put(tree, jax.local_devices()[0])


def fidelity_probe(settings: Settings, method: CtmStudent, samples: Samples) -> Probe:
    """:func:`ractd_jax.student.fidelity` of one-step plans, on fixed data states.

    It warns once about a student that keeps less than half of its teacher's spread in
    the second half of the training.
    """
    options, dims = settings.student, method.dims
    one_step, (condition, init, plans) = one_step_plans(method), samples
    # A plan of states begins where it is: its middle says more.
    step = dims.horizon // 2 if dims.plans_states else 0

    @jax.jit
    def compare(params, init, condition, solution):
        found = one_step(params, init, condition)
        groups = (-1, NOISES, *dims.plan_shape)
        return fidelity(solution.reshape(groups), found.reshape(groups), step)

    warned = set()

    def probe(state: TrainState, training: str) -> dict[str, Any]:
        found = compare(_first_device(state.ema_params), init, condition, plans)
        late = int(state.step) >= options.num_steps / 2
        low = late and found["spread"] < _LEAST_SPREAD
        if low and training not in warned:
            warned.add(training)
            logging.warning(
                "%s: at step %d one step keeps %.0f%% of its teacher's spread: it "
                "samples near the mean of the teacher's plans, not from them; raise "
                "config.student.path_weight, lower reward_weight or train longer",
                training,
                int(state.step),
                100 * float(found["spread"]),
            )
        return {f"fidelity/{name}": value for name, value in found.items()}

    return probe


def return_probe(
    settings: Settings,
    method: CtmStudent,
    rating: Rating,
    reward_params: Any,
    batch: PlanBatch,
    stored: Mapping[str, Any],
) -> Probe:
    """Predicted returns of one-step plans at fixed states, against the data's range.

    Both use the config's pessimism, whichever a member of a sweep has. A median above
    the data's 99th percentile is the signature of a student that exploits the reward
    model, and is warned about once.

    Args:
      settings: settings of the training.
      method: the student.
      rating: its reward models or critic.
      reward_params: their parameters.
      batch: a batch of the data.
      stored: the result of :func:`predicted_return_range`.
    """
    normalizer = MinMaxNormalizer.from_dict(stored["return_normalizer"])
    condition = jax.tree.map(lambda leaf: leaf[:PROBED_STATES], batch.condition)
    init = init_noise(method, condition)
    one_step = one_step_plans(method)

    @jax.jit
    def predicted(params, reward_params, condition, init):
        plans = one_step(params, init, condition)
        plan_return_fn = rating.plan_return_fn(
            reward_params, settings.student.pessimism
        )
        predicted = plan_return_fn(plans, condition)
        quantiles = jnp.quantile(predicted, jnp.array([0.5, 0.99]))
        return normalizer.unnormalize(quantiles)

    warned = set()

    def probe(state: TrainState, training: str) -> dict[str, Any]:
        params = _first_device(state.ema_params)
        median, q99 = predicted(params, reward_params, condition, init)
        high = float(median) > stored["data_q99"]
        if high and training not in warned:
            warned.add(training)
            logging.warning(
                "%s: the student's predicted return (median %.1f) is above the data's "
                "(99th percentile %.1f) at step %d: it may be exploiting the reward "
                "model; lower config.student.reward_weight or raise "
                "config.student.pessimism",
                training,
                float(median),
                stored["data_q99"],
                int(state.step),
            )
        return {
            "reward/student_median": median,
            "reward/student_q99": q99,
            "reward/data_median": stored["data_median"],
            "reward/data_q99": stored["data_q99"],
        }

    return probe
