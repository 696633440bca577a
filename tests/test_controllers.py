"""Controllers: by hand, by a slow reference, and on the ball of the real maze."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ractd_jax.errors import ConfigError
from ractd_jax.planning.controllers import (
    inverse_dynamics,
    make_controller,
    planned_states,
    position_velocity,
    pursuit,
)
from ractd_jax.planning.inverse_dynamics import InverseDynamicsModel
from ractd_jax.settings import Controller, Environment, Settings
from ractd_jax.tasks.environments import make_environment
from ractd_jax.tasks.point_maze import MAZE2D


def straight_plans(*starts, step=(0.1, 0.0), horizon=5):
    """[B, H, 4] from each start on by `step`, with velocities of 1, 2, 3, ..."""
    steps = np.arange(horizon, dtype=np.float32)[:, None]
    plans = [np.float32(start) + steps * np.float32(step) for start in starts]
    speeds = np.repeat(1 + steps, 2, axis=1)
    return np.stack([np.concatenate([plan, speeds], axis=1) for plan in plans])


def one_by_one(controller, states, plans, steps):
    """The actions that each row gets alone."""
    rows = [slice(i, i + 1) for i in range(len(states))]
    return np.concatenate([controller(states[r], plans[r], steps[r]) for r in rows])


# --- in the plan's own time


def test_position_velocity_by_hand():
    """kp (next planned position - position) + kv (its velocity - velocity)."""
    plans = straight_plans((0.0, 0.0), (2.0, 1.0))
    states = np.float32([[0.05, -0.1, 1.5, 2.0], [2.5, 1.2, 3.5, 4.2]])
    controller = position_velocity(2.0, 0.5)
    found = controller(states, plans, np.array([0, 2]))
    # Next: (0.1, 0, 2, 2) and (2.3, 1, 4, 4).
    expected = [
        [2 * 0.05 + 0.5 * 0.5, 2 * 0.1 + 0.5 * 0.0],
        [2 * -0.2 + 0.5 * 0.5, 2 * -0.2 + 0.5 * -0.2],
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_between_two_planned_states_the_target_lies_on_the_line():
    """With a stride of 2, every other target is halfway."""
    plans = straight_plans((0.0, 0.0))
    found = planned_states(plans, np.array([1.5]))
    np.testing.assert_allclose(found, [[0.15, 0.0, 2.5, 2.5]], rtol=1e-6)
    states = np.zeros((1, 4), np.float32)
    controller = position_velocity(1.0, 0.0, stride=2)
    for step, x in ((0, 0.05), (1, 0.1), (2, 0.15), (99, 0.4)):
        action = controller(states, plans, np.array([step]))
        np.testing.assert_allclose(action, [[x, 0.0]], atol=1e-6)


def test_inverse_dynamics_looks_ahead_as_far_as_its_model():
    plans = straight_plans((0.0, 0.0))
    states = np.zeros((1, 4), np.float32)
    controller = inverse_dynamics(
        InverseDynamicsModel(lambda s, t: t[:, :2], stride=3), stride=2
    )
    np.testing.assert_allclose(
        controller(states, plans, np.array([1])), [[0.2, 0.0]], atol=1e-6
    )


def test_actions_are_clipped_to_the_motors_range():
    plans = straight_plans((10.0, -10.0))
    states = np.zeros((1, 4), np.float32)
    for controller in (position_velocity(1.0, 0.0), pursuit(0.3, 10.0, 1.0)):
        np.testing.assert_array_equal(
            controller(states, plans, np.array([0])), [[1.0, -1.0]]
        )


@pytest.mark.parametrize("step", [3, 4, 5, 400])
def test_past_its_end_a_plan_holds_its_last_state(step):
    plans = straight_plans((0.0, 0.0))
    np.testing.assert_array_equal(
        planned_states(plans, np.array([step + 1])), plans[:, -1]
    )
    states = np.float32([[0.3, 0.1, 4.5, 5.0]])
    found = position_velocity(1.0, 1.0)(states, plans, np.array([step]))
    np.testing.assert_allclose(found, [[0.1 + 0.5, -0.1]], rtol=1e-5)


def test_inverse_dynamics_leads_to_the_next_planned_state():
    calls = []

    def model(states, next_states):
        calls.append((states, next_states))
        return [[0.25, -0.5], [1.0, 0.0]]

    plans = straight_plans((0.0, 0.0), (2.0, 1.0))
    states = np.float32([[0, 0, 1, 1], [2, 1, 0, 0]])
    found = inverse_dynamics(InverseDynamicsModel(model, 1))(
        states, plans, np.array([1, 9])
    )
    np.testing.assert_array_equal(calls[0][0], states)
    np.testing.assert_array_equal(calls[0][1], [plans[0, 2], plans[1, 4]])
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, [[0.25, -0.5], [1.0, 0.0]])


# --- along the plan's way


def slow_aim(position, plan, lookahead) -> int:
    """First planned step from the nearest on that is `lookahead` away, or the last."""
    gaps = [float(np.hypot(*(state[:2] - position))) for state in plan]
    for step in range(gaps.index(min(gaps)), len(plan)):
        if gaps[step] >= lookahead:
            return step
    return len(plan) - 1


@given(st.integers(0, 2**32 - 1), st.floats(0.0, 2.0))
def test_pursuit_aims_at_the_first_point_ahead_of_the_nearest(seed, lookahead):
    """Whatever the plan's timing is: the steps since it was made are not read."""
    rng = np.random.default_rng(seed)
    plans = np.cumsum(rng.normal(0.0, 0.3, (4, 9, 4)), axis=1)
    states = plans[np.arange(4), rng.integers(9, size=4)] + rng.normal(0, 0.2, (4, 4))
    controller = pursuit(lookahead, 0.03, 0.02)
    found = controller(states, plans, rng.integers(20, size=4))
    expected = []
    for state, plan in zip(states, plans, strict=True):
        aim = plan[slow_aim(state[:2], plan, lookahead)]
        expected.append(0.03 * (aim[:2] - state[:2]) - 0.02 * state[2:])
    np.testing.assert_allclose(found, expected, atol=1e-12)
    alone = one_by_one(controller, states, plans, np.zeros(4, int))
    np.testing.assert_allclose(found, alone, rtol=1e-12, atol=1e-12)


def test_pursuit_by_hand():
    """On a way there and back: what lies behind the nearest point is not aimed at."""
    plans = np.zeros((1, 8, 4), np.float32)
    plans[0, :, 0] = [0, 1, 2, 3, 3, 2, 1, 0]
    plans[0, 4:, 1] = 1
    controller = pursuit(1.5, 0.1, 0.0)
    for position, aim in {
        (1.1, 0.0): (3.0, 0.0),  # nearest (1, 0); (2, 0) is 0.9 away
        (2.9, 0.1): (1.0, 1.0),  # nearest (3, 0); (2, 1) is 1.3 away
        (1.1, 0.9): (0.0, 1.0),  # nearest (1, 1); the end is 1.1 away
        (-9.0, 2.0): (0.0, 1.0),  # the nearest is the end
    }.items():
        states = np.float32([[*position, 0, 0]])
        expected = np.clip(0.1 * (np.array(aim) - position), -1, 1)
        found = controller(states, plans, np.array([0]))
        np.testing.assert_allclose(found, [expected], atol=1e-6)


# --- from settings


def test_make_controller_takes_the_settings_gains():
    plans = straight_plans((0.0, 0.0))
    states = np.float32([[0.05, 0.01, 1.9, 2.1]])
    steps = np.array([0])
    for settings, expected in {
        Controller(): position_velocity(1.0, 1.0),
        Controller(gain_position=2.0): position_velocity(2.0, 1.0),
        Controller(gain_velocity=0.25): position_velocity(1.0, 0.25),
        Controller("pursuit"): pursuit(0.3, 10.0, 1.0),
        Controller("pursuit", 3.0, 0.2, lookahead=0.12): pursuit(0.12, 3.0, 0.2),
    }.items():
        np.testing.assert_array_equal(
            make_controller(Settings(controller=settings))(states, plans, steps),
            expected(states, plans, steps),
        )
    follow = make_controller(
        Settings(controller=Controller("inverse_dynamics")),
        InverseDynamicsModel(lambda s, t: t[:, 2:], stride=1),
    )
    np.testing.assert_array_equal(follow(states, plans, steps), [[2.0, 2.0]])


def test_inverse_dynamics_without_a_model_is_named():
    message = "config.controller.kind is inverse_dynamics.*--inverse_dynamics=DIR"
    with pytest.raises(ConfigError, match=message):
        make_controller(Settings(controller=Controller("inverse_dynamics")))


# --- on the ball


@pytest.fixture(scope="module")
def env():
    pytest.importorskip("gymnasium_robotics")
    env = make_environment(Environment(MAZE2D["umaze"]))
    yield env
    env.close()


def corridor_plan(horizon: int = 128) -> np.ndarray:
    """[1, H, 4] along the maze's upper corridor, from (1, 1) to rest in (-1, 1)."""
    time = np.linspace(0.0, np.pi, horizon)
    x = np.cos(time)
    velocity = np.gradient(x, 0.01)
    zero = np.zeros(horizon)
    return np.stack([x, 1.0 + zero, velocity, zero], axis=1)[None].astype(np.float32)


@pytest.mark.parametrize("kind", ["position_velocity", "pursuit"])
def test_the_ball_arrives_at_the_end_of_a_straight_plan(env, kind):
    """Two metres in the time limit of three seconds; pursuit is there sooner."""
    plan = corridor_plan()
    controller = make_controller(Settings(controller=Controller(kind)))
    state, _ = env.reset(seed=0, options={"start": plan[0, 0, :2].tolist()})
    gaps, truncated = [], False
    while not truncated:
        action = controller(state[None, :4], plan, np.array([len(gaps)]))[0]
        state, _, _, truncated, _ = env.step(action)
        gaps.append(float(np.hypot(*(state[:2] - plan[0, -1, :2]))))
        assert abs(state[1] - 1.0) < 0.1
    assert len(gaps) == 300
    assert gaps[-1] < 0.05 and np.hypot(*state[2:4]) < 0.1
    assert gaps[0] > 1.9
    if kind == "pursuit":
        assert gaps[127] < 0.1
