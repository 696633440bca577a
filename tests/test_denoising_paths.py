"""Paths of denoising, and the data's plans beside them."""

import jax
import numpy as np
import pytest

from ractd_jax import methods
from ractd_jax.data.episodes import build_episodes
from ractd_jax.dimensions import Dimensions
from ractd_jax.normalizers import MinMaxNormalizer
from ractd_jax.planning import Planner
from ractd_jax.planning.denoising import denoising_path
from ractd_jax.reports.maze_pictures import data_plans
from ractd_jax.settings import Diffusion, Network, Settings
from tests.toys import random_params

KEY = jax.random.key(7)
OBSERVATION = np.array([-1.0, 1.0, 0.1, 0.2, 1.0, -1.0], np.float32)


def make_planner(
    conditioning="both", stage="teacher", num_candidates=1, temperature=1.0
):
    """Of random weights; 12 Heun steps, plans of 16 states or actions."""
    settings = Settings(
        network=Network(widths=(8,), embed_dim=8, num_groups=4),
        diffusion=Diffusion(sigma_min=0.01, sigma_max=20.0),
    )
    dims = Dimensions(4, 2, 16, 1, 2, conditioning, plans_states=True)
    if conditioning == "actions":
        dims = Dimensions(4, 2, 16, 1)
    unet = methods.make_network(settings.network, dims)
    # Smaller, as few plans would lie within the bounds to which they are clipped.
    params = jax.tree.map(lambda leaf: 0.3 * leaf, random_params(unet, dims, stage))
    normalizers = [
        MinMaxNormalizer(np.float32(low), np.float32(high))
        for low, high in (([-2, -3, -5, -5], [2, 4, 5, 6]), ([-1, -1], [1, 2]))
    ]
    number = 12 if stage == "teacher" else 1
    return_fn = (
        (lambda plans, condition: plans[:, 0, 0]) if num_candidates > 1 else None
    )
    return Planner(
        settings,
        dims,
        stage,
        params,
        *normalizers,
        number,
        return_fn,
        num_candidates,
        temperature=temperature,
    )


@pytest.mark.parametrize(
    "conditioning",
    [
        "ends",
        "actions",
        *(pytest.param(c, marks=pytest.mark.slow) for c in ("film", "both")),
    ],
)
def test_a_path_ends_in_the_plan(conditioning):
    planner = make_planner(conditioning, temperature=0.5)
    observation = OBSERVATION[: planner.dims.environment_observation]
    levels, states = denoising_path(planner, observation, KEY, 5)
    assert levels.shape == (5,) and states.shape == (5, *planner.dims.plan_shape)
    expected = planner.plan(observation[None], KEY)[0]
    np.testing.assert_allclose(states[-1], expected, atol=1e-4)
    other = planner.plan(observation[None], jax.random.key(8))[0]
    assert np.abs(states[-1] - other).max() > 1e-2


def test_a_path_begins_in_the_planners_noise():
    planner = make_planner("film")
    levels, states = denoising_path(planner, OBSERVATION, KEY, 2)
    np.testing.assert_allclose(levels, [20.0, 0.01], rtol=1e-5)
    noise = jax.random.normal(jax.random.split(KEY, 1)[0], (1, 1, 16, 4))[0, 0]
    expected = planner.observation_normalizer.unnormalize(20.0 * noise)
    np.testing.assert_allclose(states[0], expected, rtol=1e-5)
    _, pinned = denoising_path(make_planner("ends"), OBSERVATION, KEY, 2)
    np.testing.assert_allclose(
        pinned[:, 0], OBSERVATION[:4][None].repeat(2, 0), atol=1e-5
    )


def test_shown_points_are_of_one_trajectory():
    """All S + 1 are the grid's; fewer are some of them, in order and none twice."""
    planner = make_planner()
    all_levels, all_states = denoising_path(planner, OBSERVATION, KEY, 13)
    assert (np.diff(all_levels) < 0).all()
    for num_shown in (3, 6, 12):
        levels, states = denoising_path(planner, OBSERVATION, KEY, num_shown)
        rows = np.searchsorted(-all_levels, -levels)
        assert (np.diff(rows) > 0).all() and rows[0] == 0 and rows[-1] == 12
        np.testing.assert_allclose(levels, all_levels[rows])
        np.testing.assert_allclose(states, all_states[rows], atol=1e-4)


def test_bad_arguments_of_a_denoising_path_are_refused():
    planner = make_planner()
    for num_shown in (1, 14):
        with pytest.raises(ValueError, match=r"in 2\.\.13"):
            denoising_path(planner, OBSERVATION, KEY, num_shown)
    with pytest.raises(ValueError, match="one key"):
        denoising_path(planner, OBSERVATION, jax.random.split(KEY, 1), 3)
    with pytest.raises(ValueError, match=r"\[B, 6\], found \[1, 4\]"):
        denoising_path(planner, OBSERVATION[:4], KEY, 3)
    with pytest.raises(ValueError, match="found a student with 1"):
        denoising_path(make_planner(stage="student"), OBSERVATION, KEY, 3)
    with pytest.raises(ValueError, match="found a teacher with 4"):
        denoising_path(make_planner(num_candidates=4), OBSERVATION, KEY, 3)


def random_episodes(rng, lengths=(150, 1, 90, 60)):
    """Random walks; the last episode is cut off."""
    walks = [
        rng.uniform(-1, 1, 2) + rng.normal(0, 0.2, (n, 2)).cumsum(0) for n in lengths
    ]
    count = sum(lengths)
    timeouts = np.zeros(count, bool)
    timeouts[np.cumsum(lengths)[:-1] - 1] = True
    fields = {
        "observations": np.hstack([np.concatenate(walks), rng.normal(size=(count, 2))]),
        "actions": np.zeros((count, 2)),
        "rewards": np.zeros(count),
        "terminals": np.zeros(count, bool),
        "timeouts": timeouts,
    }
    return build_episodes(fields, "walks")


def slow_data_plan(episodes, start, goal, goal_radius, start_radius):
    found = []
    for first, stop in zip(episodes.starts[:-1], episodes.starts[1:], strict=True):
        for i in range(first, stop):
            distance = np.linalg.norm(episodes.observations[i, :2] - start)
            if distance > start_radius:
                continue
            for j in range(i, stop):
                gap = np.linalg.norm(episodes.observations[j, :2] - goal)
                if gap <= goal_radius:
                    found.append((j - i, distance, i, j))
                    break
    if not found:
        return None
    _, _, i, j = min(found)
    return episodes.observations[i : j + 1]


def test_data_plans_are_those_of_a_plain_search():
    missing = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        episodes = random_episodes(rng)
        starts, goals = rng.uniform(-2, 2, (2, 12, 2))
        segments = data_plans(episodes, starts, goals, 0.4, 0.5)
        for start, goal, segment in zip(starts, goals, segments, strict=True):
            expected = slow_data_plan(episodes, start, goal, 0.4, 0.5)
            missing += expected is None
            if expected is None:
                assert segment is None
            else:
                np.testing.assert_array_equal(segment, expected)
    assert 10 < missing < 86


def test_a_data_plan_stays_in_its_episode():
    """The goal that only the next episode comes to is not reached."""
    fields = {
        "observations": np.array([[0, 0], [1, 0], [2, 0], [3, 0]], float),
        "actions": np.zeros((4, 1)),
        "rewards": np.zeros(4),
        "terminals": np.array([0, 1, 0, 1]),
        "timeouts": np.zeros(4),
    }
    episodes = build_episodes(fields, "line")
    starts, goals = np.zeros((3, 2)), np.array([[1.0, 0], [2, 0], [0, 0]])
    reached, beyond, at_once = data_plans(episodes, starts, goals, 0.1, 0.1)
    assert reached.shape == (2, 2) and beyond is None and at_once.shape == (1, 2)


@pytest.mark.parametrize(
    ("starts", "goals"),
    [
        (np.zeros((2, 2)), np.zeros((3, 2))),
        (np.zeros(2), np.zeros(2)),
        (np.zeros((2, 1)), np.zeros((2, 2))),
        (np.zeros((2, 2)), np.zeros((2, 1))),
    ],
)
def test_bad_ends_of_data_plans_are_refused(starts, goals):
    episodes = random_episodes(np.random.default_rng(0))
    with pytest.raises(ValueError, match="starts, goals: expected"):
        data_plans(episodes, starts, goals)
