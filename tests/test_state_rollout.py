"""Plans of states, followed: walls, replanning, changing goals, the real maze."""

import functools

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.spaces import Box
from hypothesis import given
from hypothesis import strategies as st

from ractd_jax.dimensions import Dimensions
from ractd_jax.errors import ConfigError
from ractd_jax.evaluation.rollout import evaluate_planner
from ractd_jax.evaluation.state_rollout import evaluate_state_planner
from ractd_jax.planning.controllers import make_controller, position_velocity
from ractd_jax.settings import Environment, Settings
from ractd_jax.tasks import Task, register
from ractd_jax.tasks.environments import make_environment
from ractd_jax.tasks.maze_map import MazeMap, crosses_wall, maze_map
from ractd_jax.tasks.point_maze import MAZE2D
from tests.test_state_planner import make_planner

# A U: from (-1, 1) over (1, 1) and (1, -1) to (-1, -1).
U_MAZE = MazeMap(
    np.array([[cell == "#" for cell in row]
              for row in ("#####", "#...#", "###.#", "#...#", "#####")])
)  # fmt: skip

# --- walls


def plan_of(*positions) -> np.ndarray:
    """[1, H, 4] at rest in each of the positions."""
    return np.pad(np.float32(positions), ((0, 0), (0, 2)))[None]


@pytest.mark.parametrize(
    ("positions", "crosses"),
    [
        ([(-1, 1), (-1, -1)], True),
        ([(-1, 1), (1, 1), (1, -1), (-1, -1)], False),
        ([(-1, 1), (1, 1), (-1, -1)], True),
        ([(-1.4, 0.6), (1.4, 1.4)], False),
        ([(-1, 1), (-1, 0.4)], True),
        ([(-1, 0.4), (-1, 1)], True),
        ([(1, 1), (3, 1)], True),
        ([(1, 1)] * 3, False),
        ([(1, 1)], False),
        ([(0, 0)], True),
    ],
)
def test_a_path_through_a_wall_is_detected(positions, crosses):
    """Between free points too; along a corridor, or at rest in one, there is none."""
    assert crosses_wall(U_MAZE, plan_of(*positions)).tolist() == [crosses]


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_walls_are_looked_for_at_four_points_a_step(seed, horizon):
    rng = np.random.default_rng(seed)
    plans = np.cumsum(rng.normal(0.0, 0.3, (5, horizon, 4)), axis=1)
    plans[..., :2] += [1.0, 0.0]
    expected = []
    for plan in plans[..., :2]:
        points = [*plan]
        for before, after in zip(plan[:-1], plan[1:], strict=True):
            points += [before + share * (after - before) for share in (0.25, 0.5, 0.75)]
        cells = [np.floor([2.5 - y, x + 2.5]).astype(int) for x, y in points]
        inside = [min(cell) >= 0 and max(cell) <= 4 for cell in cells]
        expected.append(
            not all(inside) or any(U_MAZE.walls[tuple(cell)] for cell in cells)
        )
    assert crosses_wall(U_MAZE, plans).tolist() == expected


# --- when plans are made


class Walk(gymnasium.Env):
    """A point that moves by its action; its goal changes before `change_at`.

    An episode has 8 steps, or with an odd seed 11, and pays for the last one.
    """

    observation_space = Box(-np.inf, np.inf, (6,), np.float64)
    action_space = Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, change_at: int = 0):
        self._change_at = change_at

    def reset(self, *, seed=None, options=None):
        self._length, self._steps = 11 if seed % 2 else 8, 0
        self._state = np.array([seed, 0.0, 0.0, 0.0])
        return self._observation(), {}

    def step(self, action):
        self._steps += 1
        self._state[:2] += action
        self._state[2:] = action
        done = self._steps == self._length
        return self._observation(), float(done), False, done, {}

    def _observation(self):
        changed = 0 < self._change_at <= self._steps
        return np.append(self._state, [9.0, 9.0] if changed else [5.0, 5.0])


for change_at in (0, 5):
    gymnasium.register(
        f"ractd-tests/Walk{change_at}-v0",
        Walk,
        max_episode_steps=99,
        kwargs={"change_at": change_at},
    )
gymnasium.register("ractd-tests/WalledWalk-v0", Walk, max_episode_steps=99)


class WalledWalk(Task):
    """The walk, in the U-shaped maze."""

    name = "walled_walk"
    pattern = "ractd-tests/WalledWalk-v0"

    def blocked(self, environment_id):
        return functools.partial(crosses_wall, U_MAZE)


register(WalledWalk())


class NumberedPlanner:
    """Plans hold the number of the call in every state; remembers what it is given."""

    dims = Dimensions(4, 2, 3, 1, goal=2, plans_states=True)

    def __init__(self):
        self.observations, self.keys = [], []

    def plan(self, observations, keys):
        self.observations.append(np.array(observations))
        self.keys.append(np.asarray(jax.random.key_data(keys)))
        number = len(self.observations)
        return np.full((len(observations), 3, 4), number, np.float32)


def walk(name="Walk0", num_episodes=3, seed=20, **options):
    """(results, planner, [plan's number, steps since it was made] of each step)."""
    planner, followed = NumberedPlanner(), []

    def controller(states, plans, steps):
        followed.append((plans[:, 0, 0].astype(int).tolist(), steps.tolist()))
        return np.float32([[0.5, 0.0]] * len(states))

    environment = Environment(f"ractd-tests/{name}-v0")
    results = evaluate_state_planner(
        planner, controller, environment, num_episodes, seed, **options
    )
    return results, planner, followed


def test_one_plan_is_followed_to_the_end():
    """Paths end with their episodes; what is reported is what was seen."""
    results, planner, followed = walk()
    assert results.episodes.lengths.tolist() == [8, 11, 8]
    assert results.episodes.returns.tolist() == [1.0, 1.0, 1.0]
    assert results.reached.tolist() == [True] * 3
    assert [len(batch) for batch in planner.observations] == [3]
    assert followed == [([1] * 3, [step] * 3) for step in range(8)] + [
        ([1], [step]) for step in range(8, 11)
    ]
    assert results.paths.shape == (3, 11, 4) and results.paths.dtype == np.float32
    assert np.isnan(results.paths[[0, 2], 8:]).all()
    for episode, length in enumerate((8, 11, 8)):
        path = results.paths[episode, :length]
        np.testing.assert_allclose(path[:, 0], 20 + episode + 0.5 * np.arange(length))
    np.testing.assert_array_equal(results.first_plans, np.ones((3, 3, 4)))
    np.testing.assert_array_equal(results.goals, np.full((3, 2), 5.0))
    assert results.collided.shape == (0,) and np.isnan(results.seconds_per_plan)


@pytest.mark.parametrize("replan_every", [1, 3, 8, 20])
def test_plans_are_made_anew_every_so_many_steps(replan_every):
    results, planner, followed = walk("WalledWalk", replan_every=replan_every)
    made = [-(-length // replan_every) for length in (8, 11, 8)]
    assert len(planner.observations) == max(made)
    for step, (numbers, since) in enumerate(followed):
        running = 3 if step < 8 else 1
        assert numbers == [step // replan_every + 1] * running
        assert since == [step % replan_every] * running
    collided = []
    for number, batch in enumerate(planner.observations):
        episodes = [0, 1, 2] if number * replan_every < 8 else [1]
        # (1, 1) is free, (2, 2) and what follows lies outside.
        collided += [number > 0] * len(episodes)
        moved = 0.5 * number * replan_every
        assert batch[:, 0].tolist() == [20 + episode + moved for episode in episodes]
    assert results.collided.tolist() == collided and len(collided) == sum(made)
    assert (results.first_plans == 1).all()
    assert (results.seconds_per_plan > 0) == (replan_every < 8)


def test_a_new_goal_is_planned_for_at_once():
    """And is the new plan's beginning: the next one is due as long after it."""
    results, planner, followed = walk("Walk5", num_episodes=2)
    assert len(planner.observations) == 2
    np.testing.assert_array_equal(planner.observations[1][:, 4:], np.full((2, 2), 9.0))
    assert followed[4:6] == [([1, 1], [4, 4]), ([2, 2], [0, 0])]
    assert followed[-1] == ([2], [5])
    np.testing.assert_array_equal(results.goals, np.full((2, 2), 5.0))
    assert (results.first_plans == 1).all()

    _, planner, followed = walk("Walk5", num_episodes=2, replan_every=4)
    numbers = [numbers[-1] for numbers, _ in followed]
    assert numbers == [1] * 4 + [2] + [3] * 4 + [4] * 2


@pytest.mark.parametrize("noise", ["each_step", "each_episode"])
def test_a_plans_noise_is_that_of_its_episode_and_step(noise):
    _, planner, _ = walk(replan_every=4, noise=noise)
    for number, keys in enumerate(planner.keys):
        step = 4 * number if noise == "each_step" else 0
        for episode, found in zip([0, 1, 2] if number < 2 else [1], keys, strict=True):
            key = jax.random.fold_in(jax.random.key(20), episode)
            key = jax.random.fold_in(key, step)
            np.testing.assert_array_equal(jax.random.key_data(key), found)


# --- the real maze


UMAZE = Environment(MAZE2D["umaze"])
SEED, EVERY = 30, 70


@pytest.fixture(scope="module")
def planner():
    return make_planner(horizon=32)


def in_the_maze(planner, num_episodes, seed=SEED, **options):
    pytest.importorskip("gymnasium_robotics")
    return evaluate_state_planner(
        planner,
        make_controller(Settings()),
        UMAZE,
        num_episodes,
        seed,
        **options,
    )


@pytest.fixture(scope="module")
def pair(planner):
    return in_the_maze(planner, 2, replan_every=EVERY)


def test_results_of_the_maze_have_their_shapes(pair):
    assert pair.paths.shape == (2, 300, 4) and np.isfinite(pair.paths).all()
    assert pair.first_plans.shape == (2, 32, 4)
    assert pair.episodes.lengths.tolist() == [300, 300]
    assert pair.episodes.seeds.tolist() == [SEED, SEED + 1]
    # Plans at steps 0, 70, 140, 210 and 280.
    assert pair.collided.shape == (2 * 5,) and pair.collided.dtype == bool
    np.testing.assert_array_equal(pair.goals, [[-1.0, 1.0]] * 2)
    # The network knows both ends.
    np.testing.assert_allclose(pair.first_plans[:, 0], pair.paths[:, 0], atol=1e-4)
    np.testing.assert_allclose(pair.first_plans[:, -1, :2], pair.goals, atol=1e-4)
    assert 0 < pair.seconds_per_plan < 5
    crossing = crosses_wall(maze_map("umaze"), pair.first_plans)
    np.testing.assert_array_equal(pair.collided[:2], crossing)


def test_an_episode_does_not_depend_on_the_others(planner, pair):
    four = in_the_maze(planner, 4, replan_every=EVERY)
    for a, b in (
        (pair.paths, four.paths[:2]),
        (pair.first_plans, four.first_plans[:2]),
        (pair.episodes.returns, four.episodes.returns[:2]),
    ):
        np.testing.assert_allclose(a, b, atol=1e-3)
    assert not np.allclose(four.paths[0], four.paths[1], atol=1e-2)
    collided = four.collided.reshape(5, 4)[:, :2]
    np.testing.assert_array_equal(collided, pair.collided.reshape(5, 2))


def test_an_episode_is_its_replay_in_a_plain_environment(planner, pair):
    env, episode = make_environment(UMAZE), 1
    observation, _ = env.reset(seed=SEED + episode)
    key = jax.random.fold_in(jax.random.key(SEED), episode)
    controller, path, total = position_velocity(1.0, 1.0), [], 0.0
    for step in range(300):
        observation = observation[None].astype(np.float32)
        if step % EVERY == 0:
            keys = jax.random.fold_in(key, step)[None]
            plan = np.asarray(planner.plan(observation, keys))
        path.append(observation[0, :4])
        steps = np.array([step % EVERY])
        action = controller(observation[:, :4], plan, steps)[0]
        observation, reward, _, truncated, _ = env.step(action)
        total += reward
    env.close()
    assert truncated
    np.testing.assert_allclose(pair.paths[episode], path, atol=1e-3)
    assert pair.episodes.returns[episode] == pytest.approx(total, abs=2)


def test_the_maze_refuses_planners_of_other_states(planner):
    with pytest.raises(ValueError, match="plans states"):
        evaluate_planner(planner, UMAZE, 1, SEED)
    with pytest.raises(ConfigError, match="6-dimensional observations"):
        evaluate_state_planner(
            planner, position_velocity(1.0, 1.0), Environment("Hopper-v5"), 1, SEED
        )
