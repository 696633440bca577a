"""Planners built from their parts: plans of states, candidates, the DDPM sampler."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ractd_jax import diffusion, methods
from ractd_jax.diffusion.guidance import bind
from ractd_jax.dimensions import Dimensions
from ractd_jax.evaluation.latency import plan_latency
from ractd_jax.networks.conditioning import CONDITIONINGS
from ractd_jax.normalizers import MinMaxNormalizer
from ractd_jax.planning import Planner
from ractd_jax.settings import from_mapping
from tests.toys import (
    flat_condition,
    random_params,
)

HORIZON = 8
TIMESTEPS = 4
STATES = MinMaxNormalizer(
    np.float32([-3.0, -2.0, -5.0, -5.0]), np.float32([3.0, 2.0, 5.0, 5.0])
)
ACTIONS = MinMaxNormalizer(np.float32([-1.0, -2.0]), np.float32([1.0, 2.0]))
# (x, y, vx, vy) and the goal, or (x, y, vx, vy) alone.
OBSERVATIONS = np.kron(
    [[1], [-1]],
    [[-2, -1, 1, 0, 2, 1.5], [1, 1, 0, -2, -2.5, 0.5], [-1, 1, 3, 3, 2.9, -1.9]],
).astype(np.float32)
BATCH = len(OBSERVATIONS)


def make_planner(
    stage="student",
    num_steps=1,
    *,
    kind="states",
    conditioning="both",
    horizon=HORIZON,
    **options,
) -> Planner:
    """A planner of random weights."""
    goal = 2 if kind == "states" else 0
    if kind == "actions":
        conditioning = "film"
    states = kind == "states"
    dims = Dimensions(
        4, 2, horizon, 1, goal=goal, conditioning=conditioning, plans_states=states
    )
    settings = from_mapping(
        {
            "network": {"widths": (8,), "embed_dim": 8},
            "ddpm": {"num_timesteps": TIMESTEPS},
        }
    )
    unet = methods.make_network(settings.network, dims)
    params = random_params(unet, dims, stage)
    # Few plans would lie within the data's range, to which they are clipped.
    params["head"] = jax.tree.map(lambda leaf: 0.2 * leaf, params["head"])
    return Planner(settings, dims, stage, params, STATES, ACTIONS, num_steps, **options)


def observations_of(kind: str) -> np.ndarray:
    return OBSERVATIONS if kind == "states" else OBSERVATIONS[:, :4]


def condition_of(kind: str) -> dict[str, np.ndarray]:
    """Normalised: the state alone, or the state and rest in the goal."""
    state, goal = np.split(OBSERVATIONS, [4], axis=1)
    if kind == "actions":
        return {"observations": STATES.normalize(state)[:, None]}
    target = np.concatenate([goal, np.zeros_like(goal)], axis=1)
    return {"start": STATES.normalize(state), "goal": STATES.normalize(target)}


def noises_of(planner: Planner, keys, num_candidates: int, num_noises: int):
    """[N, num_noises, B, H, D] the draws of each plan's own key."""
    shape = (num_candidates, num_noises, *planner.dims.plan_shape)
    drawn = jnp.stack([jax.random.normal(key, shape) for key in keys])
    return jnp.moveaxis(drawn, 0, 2)


def sample_by_hand(planner: Planner, kind: str, keys, num_candidates: int):
    """[N, B, H, D] every candidate, normalised, one batch after the other."""
    sampler = planner.sampler_of(planner.method.network)
    noises = noises_of(planner, keys, num_candidates, sampler.num_noises)
    weights = sampler.prepare(planner.params)
    sample = jax.jit(sampler.sample)
    return np.stack([sample(weights, condition_of(kind), noise) for noise in noises])


def to_environment(kind: str, plans):
    return (STATES if kind == "states" else ACTIONS).unnormalize(plans)


@pytest.mark.parametrize("kind", ["actions", "states"])
def test_condition_is_the_state_and_rest_in_the_goal(kind):
    planner = make_planner(kind=kind)
    found, expected = planner.condition(observations_of(kind)), condition_of(kind)
    assert found.keys() == expected.keys() == planner.dims.condition_shapes.keys()
    for name, shape in planner.dims.condition_shapes.items():
        assert found[name].shape == (BATCH, *shape)
        np.testing.assert_allclose(found[name], expected[name], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "num_steps"), [("teacher", 2), ("student", 2)])
def test_plans_of_states_are_the_samplers(stage, num_steps):
    """One candidate: the sampler's plan of that key, in environment units."""
    planner = make_planner(stage, num_steps)
    assert planner.nfe == {"teacher": 4, "student": 2}[stage]
    keys = jax.random.split(jax.random.key(0), BATCH)
    expected = to_environment("states", sample_by_hand(planner, "states", keys, 1)[0])
    plans = np.asarray(planner.plan(OBSERVATIONS, keys))
    assert plans.shape == (BATCH, HORIZON, 4) and plans.dtype == np.float32
    np.testing.assert_allclose(plans, expected, rtol=1e-4, atol=1e-4)
    for observations, key, rows in (
        (OBSERVATIONS, jax.random.key(0), slice(None)),
        (OBSERVATIONS[1:2], keys[1:2], slice(1, 2)),
    ):
        found = planner.plan(observations, key)
        np.testing.assert_allclose(found, plans[rows], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("stage", "conditioning"),
    [
        ("student", "ends"),
        *(pytest.param("student", c, marks=pytest.mark.slow) for c in ("film", "both")),
        *(pytest.param("ddpm", c, marks=pytest.mark.slow) for c in CONDITIONINGS),
    ],
)
def test_plans_lead_from_the_state_to_the_goal_where_ends_are_pinned(
    stage, conditioning
):
    planner = make_planner(stage, 2, conditioning=conditioning)
    plans = np.asarray(planner.plan(OBSERVATIONS, jax.random.key(0)))
    expected = np.stack([OBSERVATIONS[:, :4], np.zeros((BATCH, 4), np.float32)], axis=1)
    expected[:, 1, :2] = OBSERVATIONS[:, 4:]
    if conditioning == "film":
        assert (np.abs(plans[:, [0, -1]] - expected).max(axis=(1, 2)) > 0.01).all()
    else:
        np.testing.assert_allclose(plans[:, [0, -1]], expected, rtol=1e-4, atol=1e-4)
        # What was seen nowhere in the data is planned at its edge.
        far = OBSERVATIONS[:1] * np.float32([10, 1, 1, 1, 1, 1])
        start = np.asarray(planner.plan(far, jax.random.key(0)))[0, 0]
        np.testing.assert_allclose(start, [-3, -1, 1, 0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("stage", "num_steps", "kind"),
    [
        ("student", 1, "actions"),
        pytest.param("student", 2, "states", marks=pytest.mark.slow),
        pytest.param("ddpm", TIMESTEPS, "states", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("at_once", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_candidate_with_the_best_return_is_taken(
    stage, num_steps, kind, at_once, monkeypatch
):
    """Of four for each observation; its condition says which return is the best."""
    seen = []
    if not at_once:
        monkeypatch.setattr("ractd_jax.planning.plan_functions._RETURNS_AT_ONCE", BATCH)

    def plan_return_fn(plans, condition):
        flat = planner.method.flat(condition)
        seen.append((plans.shape, flat.shape))
        return plans[:, 3, 1] * jnp.sign(flat[:, 0])

    planner = make_planner(
        stage, num_steps, kind=kind, plan_return_fn=plan_return_fn, num_candidates=4
    )
    keys = jax.random.split(jax.random.key(5), BATCH)
    candidates = sample_by_hand(planner, kind, keys, 4)
    returns = candidates[:, :, 3, 1] * np.sign(
        flat_condition(condition_of(kind), planner.dims)[:, 0]
    )
    second, first = np.sort(returns, axis=0)[-2:]
    assert (first - second > 1e-3).all(), "a draw"
    assert len(set(returns.argmax(axis=0).tolist())) > 1, "one candidate for all"
    best = candidates[returns.argmax(axis=0), np.arange(BATCH)]
    observations = observations_of(kind)
    plans = planner.plan(observations, keys)
    np.testing.assert_allclose(plans, to_environment(kind, best), rtol=1e-4, atol=1e-4)
    rated = 4 * BATCH if at_once else BATCH
    shapes = (rated, *planner.dims.plan_shape), (rated, planner.dims.condition)
    assert seen == [shapes]
    if kind == "actions":
        np.testing.assert_allclose(
            planner.act(observations, keys), plans[:, 0], rtol=1e-5, atol=1e-5
        )


def test_one_candidate_is_not_rated():
    """And is the first of several: the other draws come behind it."""

    def refuse(plans, condition):
        raise AssertionError("called")

    one = make_planner(plan_return_fn=refuse)
    several = make_planner(
        plan_return_fn=lambda plans, condition: -jnp.arange(len(plans)),
        num_candidates=3,
    )
    assert one.num_candidates == 1
    keys = jax.random.split(jax.random.key(0), BATCH)
    np.testing.assert_allclose(
        one.plan(OBSERVATIONS, keys),
        to_environment("states", sample_by_hand(several, "states", keys, 3)[0]),
        rtol=1e-4,
        atol=1e-4,
    )


def test_a_planner_of_states_does_not_act():
    planner = make_planner()
    with pytest.raises(ValueError, match="plans states: follow plan.. with a control"):
        planner.act(OBSERVATIONS, jax.random.key(0))
    timing = plan_latency(planner, 3)
    assert 0.0 < timing["p50"] <= timing["p95"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (OBSERVATIONS[:, :4], r"expected shape \[B, 6\], found \[6, 4\]"),
        (OBSERVATIONS[0], r"expected shape \[B, 6\], found \[6\]"),
        (OBSERVATIONS[:, None], r"expected shape \[B, 6\], found \[6, 1, 6\]"),
        (OBSERVATIONS[:0], r"expected shape \[B, 6\], found \[0, 6\]"),
        (np.where(OBSERVATIONS == 1.5, np.inf, OBSERVATIONS), "finite"),
    ],
)
def test_observations_without_their_goal_are_refused(bad, message):
    planner = make_planner()
    for method in (planner.plan, lambda bad, key: planner.condition(bad)):
        with pytest.raises(ValueError, match=message):
            method(bad, jax.random.key(0))


# --- the DDPM sampler


@pytest.mark.parametrize(
    "num_steps", [TIMESTEPS, 3, pytest.param(1, marks=pytest.mark.slow)]
)
def test_ddpm_takes_all_steps_by_ancestral_sampling_and_fewer_by_ddim(num_steps):
    planner = make_planner("ddpm", num_steps)
    ancestral = num_steps == TIMESTEPS
    sampler = planner.sampler_of(planner.method.network)
    assert sampler.num_noises == (1 + TIMESTEPS if ancestral else 1)
    assert sampler.nfe == planner.nfe == num_steps
    keys = jax.random.split(jax.random.key(2), BATCH)
    noises = noises_of(planner, keys, 1, sampler.num_noises)[0]
    schedule = diffusion.ddpm_schedule(TIMESTEPS)

    @jax.jit
    def sample(noises):
        clean_fn = diffusion.clip_denoised(
            bind(planner.method.clean_fn(planner.params), condition_of("states"))
        )
        if ancestral:
            return diffusion.sample_ddpm(clean_fn, noises[0], noises[1:], schedule)
        return diffusion.sample_ddim(clean_fn, noises[0], schedule, num_steps)

    expected = STATES.unnormalize(sample(noises))
    found = planner.plan(OBSERVATIONS, keys)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("num_steps", [0, -1, TIMESTEPS + 1])
def test_impossible_numbers_of_ddpm_steps_are_refused(num_steps):
    with pytest.raises(
        ValueError, match=rf"num_steps must be in 1..4, not {num_steps}"
    ):
        make_planner("ddpm", num_steps)
