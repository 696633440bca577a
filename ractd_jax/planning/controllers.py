"""From planned states to actions: controllers, as functions of arrays.

A controller is called with the current state and the plan in force,
``controller(states [B, O], plans [B, H, O], steps [B]) -> actions [B, A]``, where
`steps` counts the steps since each plan was made; past a plan's end its last state
is the target.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ractd_jax.errors import ConfigError
from ractd_jax.planning.inverse_dynamics import InverseDynamicsModel
from ractd_jax.settings import Settings
from ractd_jax.tasks import Task

ControllerFn = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

_ANY = Task()
_GAINS = {"position_velocity": (1.0, 1.0), "pursuit": (10.0, 1.0)}


def planned_states(plans: np.ndarray, places: np.ndarray) -> np.ndarray:
    """[B, O] the states at `places` [B] of `plans` [B, H, O], linear in between.

    Past a plan's end this is the plan's last state.
    """
    rows, last = np.arange(len(plans)), plans.shape[1] - 1
    places = np.minimum(places, last)
    before = np.floor(places).astype(int)
    share = (places - before)[:, None].astype(plans.dtype)
    after = np.minimum(before + 1, last)
    return (1 - share) * plans[rows, before] + share * plans[rows, after]


def position_velocity(
    gain_position: float,
    gain_velocity: float,
    stride: int = 1,
    task: Task = _ANY,
) -> ControllerFn:
    """The controller of Janner et al. (2022) for point masses.

    a = kp (position of the next planned state - position) + kv (its velocity -
    velocity), clipped to [-1, 1], where states are (x, y, vx, vy). They use kp = 1 per
    m and kv = 1 s per m.

    Args:
      gain_position: kp.
      gain_velocity: kv.
      stride: environment steps between two planned states.
      task: which parts of a state are the position and the velocity.
    """

    def act(states, plans, steps):
        error = planned_states(plans, (steps + 1) / stride) - states
        action = gain_position * task.position(error)
        action = action + gain_velocity * task.velocity(error)
        return np.clip(action, -1.0, 1.0)

    return act


def inverse_dynamics(model: InverseDynamicsModel, stride: int = 1) -> ControllerFn:
    """Takes the action that leads to the planned state ahead, by a learned model.

    Args:
      model: from :func:`ractd_jax.planning.inverse_dynamics.load_inverse_dynamics`.
      stride: environment steps between two planned states.
    """

    def act(states, plans, steps):
        ahead = planned_states(plans, (steps + model.stride) / stride)
        return np.asarray(model(states, ahead))

    return act


def pursuit(
    lookahead: float, gain_position: float, gain_velocity: float, task: Task = _ANY
) -> ControllerFn:
    """Follows a plan's path and ignores its timing (pure pursuit).

    It aims at the first planned position, from the nearest one on, that is at least
    `lookahead` away, or at the last position where none is.

    Args:
      lookahead: distance in the units of the positions.
      gain_position: acceleration per unit of distance to the target.
      gain_velocity: damping of the velocity.
      task: which parts of a state are the position and the velocity.
    """

    def act(states, plans, steps):
        position = task.position(states)
        gap = np.linalg.norm(task.position(plans) - position[:, None], axis=-1)
        nearest = gap.argmin(axis=1)
        ahead = np.arange(plans.shape[1]) >= nearest[:, None]
        far = ahead & (gap >= lookahead)
        aim = np.where(far.any(axis=1), far.argmax(axis=1), plans.shape[1] - 1)
        error = task.position(planned_states(plans, aim)) - position
        action = gain_position * error - gain_velocity * task.velocity(states)
        return np.clip(action, -1.0, 1.0)

    return act


def make_controller(
    settings: Settings,
    model: InverseDynamicsModel | None = None,
    task: Task = _ANY,
) -> ControllerFn:
    """The controller that the settings describe.

    Args:
      settings: the planner's settings; section ``controller`` names the controller.
      model: from :func:`ractd_jax.planning.inverse_dynamics.load_inverse_dynamics`;
        only ``inverse_dynamics`` needs it.
      task: the environment family.

    Raises:
      ConfigError: the controller needs a model and none is given.
    """
    options, stride = settings.controller, settings.plan.stride
    if options.kind == "inverse_dynamics":
        if model is None:
            raise ConfigError(
                "config.controller.kind is inverse_dynamics: expected a trained model "
                "(--inverse_dynamics=DIR), found none"
            )
        return inverse_dynamics(model, stride)
    given = options.gain_position, options.gain_velocity
    position_gain, velocity_gain = [
        default if gain is None else gain
        for gain, default in zip(given, _GAINS[options.kind], strict=True)
    ]
    if options.kind == "pursuit":
        return pursuit(options.lookahead, position_gain, velocity_gain, task)
    return position_velocity(position_gain, velocity_gain, stride, task)
