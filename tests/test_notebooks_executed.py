"""The notebooks of one step, rewards, mazes and sweeps run, and are right."""

import numpy as np
import pytest

from tests.notebook_runs import check_run, execute

pytestmark = pytest.mark.slow

ONE_STEP_SIZES = {
    "NUM_STATES = 64": "NUM_STATES = 8",
    "NUM_NOISES = 64": "NUM_NOISES = 16",
    "HEUN_STEPS = (1, 2, 3, 5, 10, 20, 40)": "HEUN_STEPS = (1, 2, 4)",
    "REFERENCE_STEPS = 79": "REFERENCE_STEPS = 8",
    "TEMPERATURES = (0.0, 0.1, 0.3, 0.5, 0.7, 1.0)": "TEMPERATURES = (0.0, 1.0)",
    "EPISODES = 10": "EPISODES = 2",
}
ONE_STEP = """
{
    "shapes": [list(x.shape) for x in (solved, *jumped.values())],
    "measured": measured,
    "errors": list(errors.values()),
    "latency": latency,
    "spreads": spreads,
    "scores": {name: each.tolist() for name, each in scores.items()},
}
"""


@pytest.fixture(scope="module")
def one_step(smoke_run):
    run = {"RACTD_RUN": str(smoke_run)}
    return execute("one_step_and_teacher", ONE_STEP_SIZES, ONE_STEP, run)


def test_fidelity_has_the_known_answers(one_step):
    check_run(one_step[0])
    values = one_step[1]
    assert values["shapes"] == [[8, 16, 4, 3]] * 3
    measured = values["measured"]
    assert set(measured) >= {"CTD", "RACTD"}
    same, other, mean = (
        measured[name]
        for name in ("the teacher itself", "other noises", "the teacher's mean")
    )
    assert same["spread"] == pytest.approx(1.0) and same["error"] < 1e-6
    assert other["spread"] == pytest.approx(1.0, abs=1e-4)
    # Two draws of one distribution; 16 noises have 15 degrees of freedom.
    assert other["error"] == pytest.approx(2**0.5, abs=0.25)
    assert mean["spread"] < 1e-5 and mean["error"] == pytest.approx(1.0, abs=1e-4)


def test_steps_time_and_temperature(one_step):
    values = one_step[1]
    assert values["errors"][-1] < values["errors"][0], "more steps, less error"
    slowest = values["latency"]["teacher, 8 steps"]
    assert 0 < values["latency"]["CTD, one step"] < slowest
    for line in values["spreads"].values():
        assert line[0] < 1e-5 < line[-1], "at temperature 0 plans are all alike"
    assert len(values["scores"]) == 6
    for scores in values["scores"].values():
        assert len(scores) == 2 and np.isfinite(scores).all()


REWARD_SIZES = {
    "TEACHER_STEPS = 4_000": "TEACHER_STEPS = 8",
    "REWARD_STEPS = 2_000": "REWARD_STEPS = 8",
    "STUDENT_STEPS = 2_000": "STUDENT_STEPS = 8",
    "SAVE_EVERY = 1_000": "SAVE_EVERY = 4",
    "EPISODES = 20": "EPISODES = 2",
}
REWARD = """
{
    "price": PRICE,
    "paid": (relabelled.rewards - episodes.rewards + PRICE * effort).max().item(),
    "trained": sorted(path.name for path in out.iterdir()),
    "discount": chooser.settings.reward.discount,
    "candidates": chooser.num_candidates,
    "weights": [
        planners[f"pulled by {whose} reward"].settings.student.reward_weight
        for whose in ("own", "recorded")
    ],
    "curves": {name: curve.tolist() for name, curve in curves.items()},
    "found": {
        name: {key: np.asarray(values[key]).tolist() for key in COLUMNS}
        for name, values in found.items()
    },
    "first": {name: values["actions"][0].tolist() for name, values in found.items()},
}
"""


@pytest.fixture(scope="module")
def own_reward(smoke_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("own_reward") / "trained"
    folders = {"RACTD_RUN": str(smoke_run), "RACTD_OUT": str(out)}
    return execute("own_reward", REWARD_SIZES, REWARD, folders)


def test_models_are_trained_on_the_own_reward(own_reward):
    check_run(own_reward[0])
    values = own_reward[1]
    assert abs(values["paid"]) < 1e-4, "each step pays less by its squared action"
    assert values["trained"] == ["ctd", "ractd", "reward", "teacher"]
    assert values["discount"] == 0.99 and values["candidates"] == 16
    assert values["weights"][0] == 60.0
    recorded, own = values["curves"].values()
    assert recorded[10] == own[10] == 0.0 and recorded != own


def test_own_returns_are_those_of_the_episodes(own_reward):
    values = own_reward[1]
    assert len(values["found"]) == 5
    for name, found in values["found"].items():
        steps, effort = np.array(found["steps"]), np.array(found["effort"])
        assert steps.shape == (2,) and (steps >= 1).all()
        paid = np.array(found["recorded return"]) - values["price"] * effort * steps
        np.testing.assert_allclose(found["own return"], paid, rtol=1e-5)
        first = np.array(values["first"][name])
        assert first.shape == (steps[0], 3)
        np.testing.assert_allclose(np.square(first).sum() / steps[0], effort[0], 1e-4)
        assert np.isfinite(found["speed"]).all()
    acted = [np.array(first[0]).round(6).tolist() for first in values["first"].values()]
    assert len({str(action) for action in acted}) == 5, "five planners, five actions"


MAZE_SIZES = {
    "NUM_PLANS = 16": "NUM_PLANS = 4",
    "HEUN_STEPS = 10": "HEUN_STEPS = 4",
    "START, GOAL = (-2.5, 2.5), (2.5, -2.5)  # x and y in metres": (
        "START, GOAL = (-1.0, 1.0), (-1.0, -1.0)"
    ),
    "KEEP_OUT, RADIUS, MARGIN = (-1.2, 2.45), 0.7, 0.3": (
        "KEEP_OUT, RADIUS, MARGIN = (0.0, 0.5), 0.6, 0.2"
    ),
    "WAYPOINT = (0.55, 1.05)": "WAYPOINT = (1.0, -0.5)",
    "NUM_FOLLOWED = 4": "NUM_FOLLOWED = 1",
}
MAZE = """
{
    "nfe": [teacher.nfe, student.nfe, *(p.nfe for p in guided.values())],
    "shapes": [plans.shape for plans in (*drawn.values(), *found.values())],
    "plain": [judged(plans) for plans in drawn.values()],
    "guided": {name: judged(plans) for name, plans in found.items()},
    "repaired": judged(list(repairs.values())[-1]),
    "changed": float(np.abs(np.diff(list(repairs.values()), axis=0)).max()),
    "starts": [paths[0, 0, :2].tolist() for paths in followed.values()],
    "lengths": [paths.shape[1] for paths in followed.values()],
    "moved": [float(np.ptp(paths[0, :, :2], axis=0).max()) for paths in
              followed.values()],
}
"""


@pytest.fixture(scope="module")
def maze(maze_run, tmp_path_factory):
    run = tmp_path_factory.mktemp("maze")
    (run / "teacher").symlink_to(maze_run / "teacher")
    (run / "ractd").symlink_to(maze_run / "student")
    return execute("maze_guidance", MAZE_SIZES, MAZE, {"RACTD_RUN": str(run)})


def test_guided_plans_obey_their_rules(maze):
    check_run(maze[0])
    values = maze[1]
    assert values["nfe"] == [8, 1, 8, 8], "a rule costs no evaluation"
    assert values["shapes"] == [[4, 128, 4]] * 4
    assert values["plain"][0]["enter the circle"] == 1.0, "or there is nothing to do"
    keep_out, both = values["guided"].values()
    assert keep_out["enter the circle"] == both["enter the circle"] == 0.0
    missed = "miss the waypoint by (m)"
    assert both[missed] < min(0.1, keep_out[missed] / 2)
    assert values["repaired"]["enter the circle"] == 0.0
    assert values["changed"] > 0


def test_the_ball_starts_at_the_start_and_moves(maze):
    values = maze[1]
    np.testing.assert_allclose(values["starts"], [[-1.0, 1.0]] * 4, atol=1e-6)
    assert len(set(values["lengths"])) == 1 and values["lengths"][0] > 100
    assert min(values["moved"]) > 0.1


SWEEP_SIZES = {
    'WEIGHTS = "reward_weight=0,15,60"': 'WEIGHTS = "reward_weight=0,60"',
    "SEEDS = 6": "SEEDS = 2",
    "STEPS = 1_500": "STEPS = 8",
    "EPISODES = 10": "EPISODES = 2",
}
SWEEP = """
{
    "weights": weights,
    "scores": [scores[weight].tolist() for weight in weights],
    "episodes": [episodes[weight].tolist() for weight in weights],
    "intervals": [intervals[weight] for weight in weights],
    "spreads": [spreads[weight] for weight in weights],
    "better": better,
    "gains": {name: gain.tolist() for name, gain in gains.items()},
    "nothing": [gap.tolist() for gap in nothing.values()],
    "steps": [[c.step for c in member.checkpoints] for member in members],
    "members": sorted(path.name for path in (out / "members").iterdir()),
}
"""


@pytest.fixture(scope="module")
def sweep(smoke_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep") / "sweep"
    folders = {"RACTD_RUN": str(smoke_run), "RACTD_OUT": str(out)}
    return execute("sweep_statistics", SWEEP_SIZES, SWEEP, folders)


def test_the_sweep_is_evaluated_at_every_checkpoint(sweep):
    check_run(sweep[0])
    values = sweep[1]
    assert values["weights"] == [0.0, 60.0]
    assert values["steps"] == [[4, 8]] * 4
    assert values["members"] == [
        f"reward_weight={weight},seed={seed}" for weight in (0, 60) for seed in (0, 1)
    ]


def test_the_statistics_are_those_of_the_scores(sweep):
    values = sweep[1]
    for scores, episodes, found, spread in zip(
        *(values[key] for key in ("scores", "episodes", "intervals", "spreads")),
        strict=True,
    ):
        by_seed = np.array(episodes).reshape(2, 2)
        np.testing.assert_allclose(scores, by_seed.mean(axis=1))
        # Student's 97.5% quantile with one degree of freedom is 12.706.
        mean, half = np.mean(scores), 12.706 * abs(scores[0] - scores[1]) / 2
        np.testing.assert_allclose(found["t"], [mean - half, mean + half], rtol=1e-3)
        assert found["bootstrap"][0] <= mean <= found["bootstrap"][1]
        within = by_seed.std(axis=1, ddof=1)
        expected = np.std(scores, ddof=1), np.sqrt(np.mean(within**2) / 2)
        np.testing.assert_allclose(spread, expected)
    differences = [[abs(first - second)] for first, second in values["scores"]]
    np.testing.assert_allclose(values["nothing"], differences)
    gains = np.subtract.outer(*values["scores"][::-1]).ravel()
    np.testing.assert_allclose(values["gains"]["0 to 60"], gains)
    won = np.mean(gains > 0) + np.mean(gains == 0) / 2
    assert values["better"] == {"0 to 60": pytest.approx(won)}
