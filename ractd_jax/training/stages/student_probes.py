"""Metrics hooks of a student's training: its fidelity and its predicted return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging

from ractd_jax import diffusion
from ractd_jax.diffusion import guidance
from ractd_jax.methods import CtmStudent, EdmTeacher, PlanBatch
from ractd_jax.normalizers import MinMaxNormalizer
from ractd_jax.settings import Settings
from ractd_jax.storage.state import TrainState
from ractd_jax.student import fidelity, sample_one_step, solve_paths
from ractd_jax.training.stages.base import Probe

_FIDELITY_STATES, _FIDELITY_NOISES, _FIDELITY_NUMBERS = 64, 16, 4_096
_RETURN_STATES = 256
_LEAST_SPREAD = 0.5
PROBED_STATES = max(_FIDELITY_STATES, _RETURN_STATES)


def join_probes(*probes: Probe) -> Probe:
    """One probe with the scalars of all."""

    def probe(state, training):
        found = [each(state, training) for each in probes]
        return {name: value for each in found for name, value in each.items()}

    return probe


def _first_device(tree):
    """The first device's copy: replicas agree, and a probe runs on one device."""
    return jax.device_put(tree, jax.local_devices()[0])


def _one_step_plans(method: CtmStudent):
    """(params, x_T, condition) -> plans, as a planner samples them."""

    def plans(params, init, condition):
        jump_fn = method.jump_fn(params)
        found = sample_one_step(
            lambda x, sigma, stop: jump_fn(x, sigma, stop, condition), init, method.edm
        )
        return jnp.clip(found, -1.0, 1.0)

    return plans


def _init_noise(method: CtmStudent, condition):
    shape = (len(jax.tree.leaves(condition)[0]), *method.dims.plan_shape)
    init = method.init_scale * jax.random.normal(jax.random.key(0), shape)
    return method.pin(init, condition)


def fidelity_probe(
    settings: Settings,
    method: CtmStudent,
    teacher_params: Any,
    batch: PlanBatch,
) -> Probe:
    """:func:`ractd_jax.student.fidelity` of one-step plans, on fixed data states.

    The teacher is solved once, with the steps of the path loss. It warns once about a
    student that keeps less than half of its teacher's spread in the second half of the
    training.
    """
    options = settings.student
    # Fewer states where plans are long, and each costs more.
    dims = method.dims
    size = dims.plan_shape[0] * dims.plan_shape[1]
    states = min(_FIDELITY_STATES, max(4, _FIDELITY_NUMBERS // size))
    condition = jax.tree.map(
        lambda leaf: jnp.repeat(leaf[:states], _FIDELITY_NOISES, axis=0),
        batch.condition,
    )
    init = _init_noise(method, condition)
    solve = make_path_solver(settings, method.teacher)
    levels = jnp.zeros(len(init), jnp.int32)
    solution = jnp.clip(solve(teacher_params, init, condition, levels).end, -1.0, 1.0)
    one_step = _one_step_plans(method)
    # A plan of states begins where it is: its middle says more.
    step = dims.horizon // 2 if dims.plans_states else 0

    @jax.jit
    def compare(params, init, condition, solution):
        found = one_step(params, init, condition)
        groups = (-1, _FIDELITY_NOISES, *dims.plan_shape)
        return fidelity(solution.reshape(groups), found.reshape(groups), step)

    warned = set()

    def probe(state: TrainState, training: str) -> dict[str, Any]:
        found = compare(_first_device(state.ema_params), init, condition, solution)
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


def make_path_solver(settings: Settings, teacher: EdmTeacher):
    """(teacher params, x_T, condition, levels) -> PathPoints."""
    sigmas = diffusion.karras_sigmas(settings.student.path_steps + 1, teacher.edm)

    @jax.jit
    def solve(params, init, condition, levels):
        denoise_fn = guidance.bind(teacher.denoise_fn(params), condition)
        denoise_fn = diffusion.clip_denoised(denoise_fn)
        return solve_paths(denoise_fn, init, condition, sigmas, levels)

    return solve


def return_probe(
    settings: Settings,
    method: CtmStudent,
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
      method: the student, with its reward ensemble.
      reward_params: parameters of the ensemble.
      batch: a batch of the data.
      stored: the result of :func:`predicted_return_range`.
    """
    normalizer = MinMaxNormalizer.from_dict(stored["return_normalizer"])
    condition = jax.tree.map(lambda leaf: leaf[:_RETURN_STATES], batch.condition)
    init = _init_noise(method, condition)
    one_step = _one_step_plans(method)

    @jax.jit
    def predicted(params, reward_params, condition, init):
        plans = one_step(params, init, condition)
        plan_return_fn = method.reward.plan_return_fn(
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
