"""Behaviour policies, the shipped snapshots, and the datasets they record."""

import importlib.resources
import itertools

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ractd_jax.errors import DataError
from ractd_jax.recording import behaviour
from ractd_jax.recording.behaviour import (
    BehaviourPolicy,
    CategoricalPolicy,
    PolicySnapshots,
    save_snapshots,
)
from ractd_jax.recording.rollouts import record_episode


def make_policy(seed: int) -> BehaviourPolicy:
    """Observation 4, hidden 5 and 3, actions in [-1, 3] x [0, 0.5]."""
    rng = np.random.default_rng(seed)
    sizes = (4, 5, 3, 4)
    return BehaviourPolicy(
        tuple(
            rng.normal(size=pair).astype(np.float32)
            for pair in itertools.pairwise(sizes)
        ),
        tuple(rng.normal(size=size).astype(np.float32) for size in sizes[1:]),
        np.float32([-1, 0]),
        np.float32([3, 0.5]),
    )


def make_snapshots(number: int) -> PolicySnapshots:
    names = [f"step_{i}" for i in range(number)]
    metadata = {
        "environment": "Made-Up-v0",
        "roles": {"medium": names[1], "expert": names[-1]},
        "snapshots": {name: {"return_mean": i / 3} for i, name in enumerate(names)},
    }
    return PolicySnapshots(
        {name: make_policy(i) for i, name in enumerate(names)}, metadata
    )


def arrays_of(policy: BehaviourPolicy) -> list[np.ndarray]:
    return [*policy.weights, *policy.biases, policy.action_low, policy.action_high]


def assert_same_policy(found: BehaviourPolicy, expected: BehaviourPolicy) -> None:
    assert len(found.weights) == len(expected.weights)
    for a, b in zip(arrays_of(found), arrays_of(expected), strict=True):
        np.testing.assert_array_equal(a, b)


def assert_same_snapshots(found: PolicySnapshots, expected: PolicySnapshots) -> None:
    assert list(found.policies) == list(expected.policies)
    assert found.metadata == expected.metadata
    for name, policy in expected.policies.items():
        assert_same_policy(found.policies[name], policy)


# --- the policies


def test_policy_by_hand():
    """One layer: tanh(mean + exp(log_std) noise), scaled to the action bounds."""
    policy = BehaviourPolicy(
        (np.float32([[1, 0]]),),
        (np.float32([0, np.log(2)]),),
        -np.ones(1),
        3 * np.ones(1),
    )
    observation = np.float32([[0.5]])
    scaled = 1 + 2 * np.tanh([[0.5], [0.5 + 2 * 0.25]])
    np.testing.assert_allclose(policy.act(observation, None), scaled[:1], rtol=1e-6)
    noisy = policy.act(observation, np.float32([[0.25]]))
    np.testing.assert_allclose(noisy, scaled[1:], rtol=1e-6)


def test_a_discrete_policy_by_hand(tmp_path):
    """One hidden layer of tanh; Gumbel noise draws in proportion to exp(logit)."""
    policy = CategoricalPolicy(
        (np.float32([[1.0]]), np.float32([[2.0, -2.0, 0.0]])),
        (np.float32([0.0]), np.float32([0.0, 0.0, 0.5])),
    )
    logits = np.tanh(0.3) * np.array([2.0, -2.0, 0.0]) + [0.0, 0.0, 0.5]
    observations = np.full((20_000, 1), 0.3)
    assert policy.act(observations[:1], None) == np.argmax(logits)
    noise = np.random.default_rng(0).gumbel(size=(20_000, 3))
    shares = np.bincount(policy.act(observations, noise), minlength=3) / 20_000
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(shares, expected, atol=0.01)
    assert policy.noise(np.random.default_rng(0)).shape == (1, 3)
    metadata = {"snapshots": {"a": {}}, "roles": {"expert": "a"}}
    save_snapshots(tmp_path / "p.npz", PolicySnapshots({"a": policy}, metadata))
    loaded = behaviour.load_snapshots(tmp_path / "p.npz").role("expert")
    assert isinstance(loaded, CategoricalPolicy)
    np.testing.assert_array_equal(
        loaded.act(observations, noise), policy.act(observations, noise)
    )


def test_a_discrete_policy_records_whole_numbers():
    policy = CategoricalPolicy((np.zeros((4, 2), np.float32),), (np.zeros(2),))
    env = gymnasium.make("CartPole-v1")
    episode = record_episode(env, policy, 3)
    assert episode.actions.dtype == np.int64
    assert episode.actions.shape == episode.rewards.shape
    assert set(episode.actions) == {0, 1}
    again = record_episode(env, policy, 3)
    np.testing.assert_array_equal(episode.observations, again.observations)


@settings(max_examples=30)
@given(st.integers(0, 100), st.floats(0, 1e3))
def test_actions_stay_inside_their_bounds(seed, scale):
    """However large the observations and the noise."""
    rng = np.random.default_rng(seed)
    policy = make_policy(seed)
    noise = (scale * rng.normal(size=(8, 2))).astype(np.float32)
    actions = policy.act(scale * rng.normal(size=(8, 4)), noise)
    assert actions.shape == (8, 2)
    assert (actions >= policy.action_low).all()
    assert (actions <= policy.action_high).all()


def test_snapshots_round_trip(tmp_path):
    """Arrays bit by bit, order, metadata and roles; no other file is left."""
    expected = make_snapshots(12)
    behaviour.save_snapshots(tmp_path / "policy.npz", expected)
    found = behaviour.load_snapshots(tmp_path / "policy.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["policy.npz"]
    assert_same_snapshots(found, expected)
    assert_same_policy(found.role("expert"), make_policy(11))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_policy_file_is_refused(tmp_path, share):
    path = tmp_path / "policy.npz"
    behaviour.save_snapshots(path, make_snapshots(3))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match="expected a behaviour policy file") as caught:
        behaviour.load_snapshots(path)
    assert caught.value.path == str(path)


def test_damaged_byte_never_becomes_another_policy(tmp_path):
    """One byte inverted, anywhere: refused, or it was one that nobody reads."""
    path, expected = tmp_path / "policy.npz", make_snapshots(3)
    behaviour.save_snapshots(path, expected)
    whole, refused = path.read_bytes(), 0
    positions = range(0, len(whole), 61)
    for i in positions:
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 255]) + whole[i + 1 :])
        try:
            found = behaviour.load_snapshots(path)
        except DataError:
            refused += 1
        else:
            assert_same_snapshots(found, expected)
    assert refused > len(positions) / 2


def test_other_npz_is_refused(tmp_path):
    """Arrays without metadata, and metadata of a snapshot that is not there."""
    path = tmp_path / "other.npz"
    np.savez(path, returns=np.zeros(3))
    with pytest.raises(DataError):
        behaviour.load_snapshots(path)
    np.savez(path, metadata=np.array('{"snapshots": {"step_1": {}}}'))
    with pytest.raises(DataError, match="step_1"):
        behaviour.load_snapshots(path)


def test_missing_policy_files_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"none\.npz"):
        behaviour.load_snapshots(tmp_path / "none.npz")
    with pytest.raises(DataError, match="unicycle"):
        behaviour.load_packaged_snapshots("unicycle")


# --- which snapshots a training keeps


def test_choice_by_hand():
    """Expert: the best. Medium: the last before it near a third of its return."""
    returns = [10, 500, 1100, 950, 2000, 3000, 100]
    chosen = behaviour.choose_snapshots(returns, 6)
    assert chosen == {"expert": 5, "medium": 3, "replay": [0, 1, 2, 3, 4, 5]}


def test_medium_without_one_near_a_third():
    """Nothing within 800..1200: the nearest to 1000 it is."""
    returns = [0, 100, 600, 1500, 3000]
    assert behaviour.choose_snapshots(returns, 5)["medium"] == 2


def test_medium_comes_before_the_expert():
    """A collapse to a third of the return after the expert is not chosen."""
    returns = [0, 1000, 3000, 1000, 1000]
    assert behaviour.choose_snapshots(returns, 5)["medium"] == 1


@settings(max_examples=100)
@given(st.lists(st.floats(0, 4000), min_size=1, max_size=30), st.integers(3, 12))
def test_choice_of_any_curve(returns, num_replay):
    """As many as asked for, in order, first to expert, with both roles."""
    chosen = behaviour.choose_snapshots(returns, num_replay)
    replay, expert = chosen["replay"], chosen["expert"]
    assert returns[expert] == max(returns)
    assert 0 <= chosen["medium"] <= expert
    assert replay == sorted(set(replay))
    assert {0, chosen["medium"], expert} <= set(replay)
    assert replay[-1] == expert
    assert len(replay) == min(num_replay, expert + 1)


def test_one_snapshot_plays_both_roles():
    chosen = behaviour.choose_snapshots([0, 100, 50], 1)
    assert chosen == {"expert": 1, "medium": 1, "replay": [1]}


def test_replay_is_spread_evenly():
    """Eleven of 101 snapshots on a straight line: no gap of twice the even one."""
    chosen = behaviour.choose_snapshots(np.arange(101), 11)
    assert len(chosen["replay"]) == 11
    assert np.diff(chosen["replay"]).max() <= 20


# --- the shipped snapshots


# environment: its id, O, A, and the return that the expert must reach.
PACKAGED = {
    "hopper": ("Hopper-v5", 11, 3, 3000),
    "walker2d": ("Walker2d-v5", 17, 6, 4000),
    "halfcheetah": ("HalfCheetah-v5", 17, 6, 8000),
}


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_snapshots(name):
    """Small, of the environment's sizes, from random to expert in order."""
    environment, observation, action, _ = PACKAGED[name]
    asset = importlib.resources.files("ractd_jax.recording") / f"assets/{name}.npz"
    with importlib.resources.as_file(asset) as path:
        assert path.stat().st_size < 1_500_000
    snapshots = behaviour.load_packaged_snapshots(name)
    assert snapshots.metadata["environment"] == environment
    about = snapshots.metadata["snapshots"]
    assert len(snapshots.policies) >= 8
    assert list(snapshots.policies) == list(about)
    steps = [snapshot["env_steps"] for snapshot in about.values()]
    assert steps == sorted(steps) and steps[0] == 0
    for policy in snapshots.policies.values():
        assert policy.weights[0].shape[0] == observation
        assert policy.weights[-1].shape[1] == 2 * action
        np.testing.assert_array_equal(policy.action_low, -np.ones(action))
        np.testing.assert_array_equal(policy.action_high, np.ones(action))
        assert all(np.isfinite(weight).all() for weight in policy.weights)


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_roles(name):
    """Rated on fresh seeds: the expert best, last and good, medium near a third."""
    snapshots = behaviour.load_packaged_snapshots(name)
    roles, about = snapshots.metadata["roles"], snapshots.metadata["snapshots"]
    assert set(roles) == {"medium", "expert"}
    assert_same_policy(snapshots.role("medium"), snapshots.policies[roles["medium"]])
    assert all(snapshot["episodes"] >= 50 for snapshot in about.values())
    returns = {key: snapshot["return_mean"] for key, snapshot in about.items()}
    assert roles["expert"] == max(returns, key=returns.get) == list(about)[-1]
    assert returns[roles["expert"]] >= PACKAGED[name][-1]
    ratio = returns[roles["medium"]] / returns[roles["expert"]]
    assert ratio == pytest.approx(1 / 3, rel=0.2)


@pytest.mark.parametrize("name", PACKAGED)
def test_the_experts_stated_return_is_its_return(name):
    """The median of three true returns, on seeds that nothing was chosen by."""
    snapshots = behaviour.load_packaged_snapshots(name)
    env = gymnasium.make(PACKAGED[name][0])
    expert = snapshots.role("expert")
    returns = [record_episode(env, expert, 77 + i).rewards.sum() for i in range(3)]
    rated = snapshots.metadata["snapshots"][snapshots.metadata["roles"]["expert"]]
    assert np.median(returns) == pytest.approx(rated["return_mean"], rel=0.2)


def test_medium_and_expert_reach_their_stated_returns(hopper, env):
    """Medians of a few true returns: the expert 2500 at least, medium a third."""
    medians = {}
    for role, episodes in (("medium", 7), ("expert", 3)):
        recorded = [
            record_episode(env, hopper.role(role), seed) for seed in range(episodes)
        ]
        medians[role] = np.median([episode.rewards.sum() for episode in recorded])
    assert medians["expert"] >= 2500
    assert 0.2 <= medians["medium"] / medians["expert"] <= 0.5
