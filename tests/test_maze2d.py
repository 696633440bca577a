"""D4RL's maze2d protocol: goals, starts, rewards, time limits, scores and errors."""

import math
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from ractd_jax.data.episodes import build_episodes
from ractd_jax.data.origin import Origin, with_reference
from ractd_jax.data.sources import (
    RAW_SCORES,
    make_dataset,
    resolve_environment,
    with_environment_id,
)
from ractd_jax.errors import ConfigError
from ractd_jax.settings import Environment, Settings
from ractd_jax.tasks import D4RL_RETURNS, maze2d
from ractd_jax.tasks.environments import make_environment, make_vector_env
from ractd_jax.tasks.maze2d import maze2d_reward, register_maze2d
from ractd_jax.tasks.maze_map import MazeMap, check_free, maze_map
from ractd_jax.tasks.point_maze import MAZE2D, MAZES, maze_of_environment

pytest.importorskip("gymnasium_robotics")

D4RL_MAPS = {
    "umaze": "#####/#GOO#/###O#/#OOO#/#####",
    "medium": (
        "########/#OO##OO#/#OO#OOO#/##OOO###/#OO#OOO#/#O#OO#O#/#OOO#OG#/########"
    ),
    "large": (
        "############/#OOOO#OOOOO#/#O##O#O#O#O#/#OOOOOO#OOO#/#O####O###O#/"
        "#OO#O#OOOOO#/##O#O#O#O###/#OO#OOO#OGO#/############"
    ),
}
LIMITS = {"umaze": 300, "medium": 600, "large": 800}
REST = np.zeros(2, np.float32)


@pytest.fixture(scope="module", params=MAZES)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def env(name):
    env = make_environment(Environment(MAZE2D[name]))
    yield env
    env.close()


def d4rl_goal(name: str) -> np.ndarray:
    """[2] centre of the cell that D4RL's map marks with G."""
    cells = np.array([list(row) for row in D4RL_MAPS[name].split("/")])
    return maze_map(name).cell_to_xy(np.argwhere(cells == "G")[0])


def episode(env, seed: int, options=None) -> np.ndarray:
    """[301, 7] observations and rewards under random actions of a fixed stream."""
    actions = np.random.default_rng(0).uniform(-1, 1, (300, 2)).astype(np.float32)
    rows = [[*env.reset(seed=seed, options=options)[0], 0.0]]
    for action in actions:
        observation, reward, *_ = env.step(action)
        rows.append([*observation, reward])
    return np.array(rows)


# --- mazes


def test_walls_and_goal_are_d4rls(name, env):
    rows = D4RL_MAPS[name].split("/")
    walls = np.array([[cell == "#" for cell in row] for row in rows])
    np.testing.assert_array_equal(maze_map(name).walls, walls)
    assert D4RL_MAPS[name].count("G") == 1
    row, column = maze2d.GOAL_CELLS[name]
    assert rows[row][column] == "G"
    observation, _ = env.reset(seed=3)
    np.testing.assert_array_equal(observation[4:], d4rl_goal(name))


def test_maze_of_an_environment(name):
    word = MAZES[name].removeprefix("PointMaze_").removesuffix("-v3")
    same = [
        MAZE2D[name],
        MAZES[name],
        f"PointMaze_{word}Dense-v3",
        f"PointMaze_{word}-v4",
    ]
    if name != "umaze":
        same += [
            f"PointMaze_{word}_Diverse_{suffix}-v3"
            for suffix in ("G", "GR", "GDense", "GRDense")
        ]
    assert [maze_of_environment(one) for one in same] == [name] * len(same)


def test_registered_ids_have_the_walls_of_their_map():
    found = 0
    for environment_id, spec in gymnasium.registry.items():
        if (name := maze_of_environment(environment_id)) and "PointMaze" in spec.id:
            walls = np.array([[c == 1 for c in row] for row in spec.kwargs["maze_map"]])
            np.testing.assert_array_equal(walls, maze_map(name).walls)
            found += 1
    assert found >= 14


@pytest.mark.parametrize(
    "other",
    ["", "Hopper-v5", "PointMaze_Open-v3", "AntMaze_UMaze-v5", "Maze2d-UMaze-v0",
     "ractd/Maze2d-Huge-v0", "PointMaze_UMaze-v3x"],
)  # fmt: skip
def test_other_environments_have_no_maze(other):
    assert maze_of_environment(other) is None


# --- free positions


def test_refused_positions_are_named():
    medium = maze_map("medium")
    where = "expected a free position of maze medium (x in -4..4, y in -4..4), found "
    for xy, found in {
        (9.0, 0.0): "(9.0, 0.0), outside the maze",
        (0.0, -4): "(0.0, -4.0), outside the maze",
        (-3.5, 3.5): "(-3.5, 3.5), in a wall",
        (math.nan, 0.0): "(nan, 0.0), no position",
        (1.0,): "(1.0,), no position",
        ("a", 0): "('a', 0), no position",
    }.items():
        with pytest.raises(ConfigError) as caught:
            check_free(medium, xy, "start")
        assert str(caught.value) == f"start: {where}{found}"
    with pytest.raises(ConfigError, match="goal: .*None, no position"):
        check_free(medium, None, "goal")


finite = st.floats(-8, 8)


@given(finite, finite, st.sampled_from(list(MAZES)))
def test_free_is_what_the_map_shows(x, y, name):
    """Of D4RL's letters: accepted unchanged in a free cell, else refused."""
    rows = D4RL_MAPS[name].split("/")
    row = math.floor(len(rows) / 2 - y)
    column = math.floor(x + len(rows[0]) / 2)
    inside = 0 <= row < len(rows) and 0 <= column < len(rows[0])
    maze = maze_map(name)
    if inside and rows[row][column] != "#":
        assert check_free(maze, (x, y), "goal").tolist() == [x, y]
        assert not maze.is_wall(np.array([x, y]))
    else:
        with pytest.raises(ConfigError, match=f"goal: .*of maze {name} .*found"):
            check_free(maze, (x, y), "goal")


def test_a_custom_map_is_used():
    maze = MazeMap(np.pad(np.zeros((1, 1), bool), 1, constant_values=True), "mine")
    assert check_free(maze, [0, 0], "start").dtype == np.float64
    with pytest.raises(ConfigError, match="maze mine .x in -1.5..1.5"):
        check_free(maze, [1, 0], "start")


# --- episodes


def test_registered_and_flat(name, env):
    """State and goal, by the rule auto; the Dict and the actions of PointMaze."""
    assert env.spec.id == MAZE2D[name]
    assert env.observation_space.shape == (6,)
    register_maze2d()
    ours = gymnasium.make(MAZE2D[name])  # its checker finds nothing either
    theirs = gymnasium.make(MAZES[name])
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    observation, _ = ours.reset(seed=0)
    assert ours.observation_space.contains(observation)
    state = observation["observation"]
    np.testing.assert_array_equal(observation["achieved_goal"], state[:2])
    np.testing.assert_array_equal(env.reset(seed=0)[0][:4], state)
    ours.close()
    theirs.close()


def test_time_limit_and_no_termination(name, env):
    """A ball at rest on the goal is paid at each step until the time is over."""
    env.reset(seed=0, options={"start": d4rl_goal(name)})
    total, steps, truncated = 0.0, 0, False
    while not truncated:
        _, reward, terminated, truncated, _ = env.step(REST)
        assert not terminated
        total, steps = total + reward, steps + 1
    assert (steps, total) == (LIMITS[name], LIMITS[name])


@pytest.mark.parametrize(("distance", "paid"), [(0.49, 1.0), (0.51, 0.0)])
def test_radius_of_the_goal(name, env, distance, paid):
    """One step at up to 0.4 m/s moves the ball by 4 mm."""
    goal = d4rl_goal(name)
    beside = maze_map(name).free_cells - np.array(maze2d.GOAL_CELLS[name])
    row, column = beside[np.abs(beside).sum(axis=1) == 1][0]
    start = goal + distance * np.array([column, -row])
    env.reset(seed=0, options={"start": start})
    observation, reward, *_ = env.step(REST)
    assert abs(math.dist(observation[:2], goal) - distance) < 0.004
    assert reward == paid


def test_a_custom_goal_moves_the_reward(name, env):
    centres = maze_map(name).cell_to_xy(maze_map(name).free_cells)
    far = centres[np.linalg.norm(centres - d4rl_goal(name), axis=1).argmax()]
    place = far + [0.1, -0.05]
    observation, _ = env.reset(seed=0, options={"start": far, "goal": place})
    np.testing.assert_array_equal(observation[:2], far)
    np.testing.assert_array_equal(observation[4:], place)
    assert np.abs(observation[2:4]).max() > 0
    observation, reward, *_ = env.step(REST)
    np.testing.assert_array_equal(observation[4:], place)
    assert reward == 1
    # For one episode only.
    observation, _ = env.reset()
    np.testing.assert_array_equal(observation[4:], d4rl_goal(name))


@given(st.lists(st.tuples(finite, finite), min_size=1), st.tuples(finite, finite))
def test_reward_is_of_the_distance(positions, goal):
    rewards = maze2d_reward(np.array(positions), np.array(goal))
    expected = [float(np.hypot(x - goal[0], y - goal[1]) <= 0.5) for x, y in positions]
    near = [abs(math.dist(xy, goal) - 0.5) < 1e-9 for xy in positions]
    np.testing.assert_array_equal(np.where(near, expected, rewards), expected)


def test_rewards_are_those_of_the_positions(name, env):
    rows = episode(env, 1, {"start": d4rl_goal(name)})
    expected = maze2d_reward(rows[1:, :2], d4rl_goal(name))
    assert 0 < expected.sum()
    np.testing.assert_array_equal(rows[1:, 6], expected)


def test_seed_decides(name, env):
    """Whatever was played before, and in another environment too."""
    first = episode(env, 5)
    other = make_environment(Environment(MAZE2D[name]))
    np.testing.assert_array_equal(episode(other, 5), first)
    np.testing.assert_array_equal(episode(env, 5), first)
    assert not np.array_equal(episode(env, 6)[0], first[0])
    # The next start of the same stream is another, and is reproduced as well.
    env.reset(seed=5)
    other.reset(seed=5)
    following = env.reset()[0]
    np.testing.assert_array_equal(following, other.reset()[0])
    assert not np.array_equal(following, first[0, :6])
    # A chosen start leaves the drawn velocity as it was.
    chosen = env.reset(seed=5, options={"start": d4rl_goal(name)})[0]
    np.testing.assert_array_equal(chosen[2:4], first[0, 2:4])
    other.close()


def test_vector_environments_are_seeded_one_by_one(env, name):
    vector = make_vector_env(Environment(MAZE2D[name]), 3)
    together = vector.reset(seed=[4, 5, 6])[0]
    single = [env.reset(seed=seed)[0] for seed in (4, 5, 6)]
    np.testing.assert_array_equal(together, single)
    vector.close()


def test_starts_are_uniform_over_the_free_cells(name, env):
    """Cells by chi-square, offsets and velocities by Kolmogorov and Smirnov."""
    maze = maze_map(name)
    cells = maze.free_cells
    env.reset(seed=0)
    starts = np.array([env.reset()[0][:4] for _ in range(40 * len(cells))])
    assert not maze.is_wall(starts[:, :2]).any()
    found = maze.xy_to_cell(starts[:, :2])
    counts = (found[:, None] == cells).all(axis=-1).sum(axis=0)
    assert counts.sum() == len(starts)
    assert scipy.stats.chisquare(counts).pvalue > 1e-3
    offsets = (starts[:, :2] - maze.cell_to_xy(found)).ravel()
    assert np.abs(offsets).max() <= 0.1 + 1e-12
    assert scipy.stats.kstest(offsets, "uniform", (-0.1, 0.2)).pvalue > 1e-3
    assert scipy.stats.kstest(starts[:, 2:].ravel(), "norm", (0, 0.1)).pvalue > 1e-3


def test_ball_is_point_mazes(name):
    """From the same state, the same actions give the same states, walls included."""
    register_maze2d()
    ours = gymnasium.make(MAZE2D[name]).unwrapped
    theirs = gymnasium.make(MAZES[name]).unwrapped
    observation, _ = ours.reset(seed=2)
    theirs.reset(seed=2)
    ball = theirs.point_env
    ball.init_qpos[:], ball.init_qvel[:] = np.split(observation["observation"], 2)
    ball.reset()
    rng, touched = np.random.default_rng(2), False
    for _ in range(10):
        push = rng.uniform(-1, 1, 2).astype(np.float32)
        for _ in range(30):
            mine, yours = ours.step(push)[0], theirs.step(push)[0]
            np.testing.assert_array_equal(mine["observation"], yours["observation"])
            touched |= ball.data.ncon > 1  # the floor is one
    assert touched
    ours.close()
    theirs.close()


def test_largest_speed_is_that_of_d4rls_files():
    env = make_environment(Environment(MAZE2D["large"]))
    env.reset(seed=0, options={"start": (-4.5, 1.0)})
    push = np.array([1, 0], np.float32)
    speeds = [env.step(push)[0][2] for _ in range(60)]
    assert max(speeds) == pytest.approx(5.2262554, abs=1e-6)
    env.close()


def test_no_file_stays_behind(monkeypatch, tmp_path):
    """PointMaze leaves its model in the folder for temporary files; we do not."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    make_environment(Environment(MAZE2D["umaze"])).close()
    assert list(Path(tmp_path).iterdir()) == []


# --- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": (9.0, 0.0)}, r"^start: .* found \(9.0, 0.0\), outside the maze$"),
        ({"goal": (-2.0, 2.0)}, r"^goal: .* of maze umaze .* in a wall$"),
        ({"start": (0, 1), "goal": 3}, "^goal: .* found 3, no position$"),
        ({"goal_cell": (1, 1)}, "^options: expected start or goal, found .'goal_cell'"),
    ],
)
def test_bad_options_are_refused(options, message):
    env = make_environment(Environment(MAZE2D["umaze"]))
    with pytest.raises(ConfigError, match=message):
        env.reset(seed=0, options=options)
    env.close()


def test_unknown_maze_is_refused():
    with pytest.raises(ConfigError, match=r"\['umaze', 'medium', 'large'\].*'huge'"):
        maze2d.Maze2d("huge")


def test_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium_robotics", None)
    with pytest.raises(ConfigError, match=r"pip install ractd_jax\[maze\]"):
        make_environment(Environment(MAZE2D["umaze"]))


# --- scores


def test_references_are_d4rls(name):
    low, high = D4RL_RETURNS[f"maze2d-{name}"]
    origin = with_reference(Origin(MAZE2D[name]))
    assert (origin.score_min, origin.score_max) == (low, high)
    assert origin.score_source == f"D4RL's reference returns of maze2d-{name}"
    assert with_reference(Origin(MAZES[name])) == Origin(MAZES[name])


def data_of(environment_id: str, **references):
    sizes = {"observations": (4, 6), "actions": (4, 2), "rewards": 4, "terminals": 4}
    fields = {field: np.zeros(size) for field, size in sizes.items()}
    fields["timeouts"] = np.arange(4) == 3
    episodes = build_episodes(fields, "a test")
    return make_dataset("a test", episodes, Origin(environment_id, **references))


def test_named_protocol_brings_its_references(name):
    """Over those of PointMaze data, which is paid otherwise; not over the user's."""
    low, high = D4RL_RETURNS[f"maze2d-{name}"]
    ours = Environment(MAZE2D[name])
    theirs = {"score_min": 1.0, "score_max": 2.0, "score_source": "the data"}
    for references in ({}, theirs):
        data = data_of(MAZES[name], **references)
        found = resolve_environment(Settings(environment=ours), data).environment
        assert (found.id, found.spec) == (MAZE2D[name], "")
        assert (found.score_min, found.score_max) == (low, high)
    given = Environment(MAZE2D[name], score_min=3.0, score_max=4.0)
    found = resolve_environment(Settings(environment=given), data).environment
    assert (found.score_min, found.score_max) == (3.0, 4.0)
    raw = resolve_environment(Settings(), data_of(MAZES[name])).environment
    assert (raw.id, raw.score_source) == (MAZES[name], RAW_SCORES)


def test_another_environment_for_a_checkpoint(name):
    low, high = D4RL_RETURNS[f"maze2d-{name}"]
    before = Environment("PointMaze_UMaze-v3", "{}", "all", 0.0, 100.0, RAW_SCORES)
    after = with_environment_id(before, MAZE2D[name])
    assert (after.id, after.spec, after.flatten) == (MAZE2D[name], "", "all")
    assert (after.score_min, after.score_max) == (low, high)
    other = with_environment_id(before, "PointMaze_Large-v3")
    assert (other.id, other.spec, other.score_max) == ("PointMaze_Large-v3", "", 100.0)
