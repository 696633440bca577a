"""SMAX: the rules are JaxMARL's, a unit is led, the others follow their policy."""

import contextlib
import io
import subprocess
import sys

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ractd_jax.errors import ConfigError, DataError
from ractd_jax.networks.recurrent import RecurrentActor
from ractd_jax.online.mappo import MappoOptions
from ractd_jax.pipelines.combinations.smax import smax_experiment
from ractd_jax.recording.smax import record_smax, recording_environment
from ractd_jax.recording.team_training import train_team
from ractd_jax.settings import Environment
from ractd_jax.tasks import task_of
from ractd_jax.tasks.environments import registered_spec
from ractd_jax.tasks.smax import KINDS, environment_id
from ractd_jax.tasks.team_policy import TeamPolicy, load_team_policy, save_team_policy

pytest.importorskip("jaxmarl")

from ractd_jax.tasks import smax_env, team_battle  # noqa: E402
from ractd_jax.tasks.battle import Battle  # noqa: E402

SIZE = 2
MIXED = environment_id(SIZE, "one_kind", "mixed")


def untrained(size: int) -> TeamPolicy:
    """A policy with random weights, of a network of 8."""
    battle = Battle(size, "any_kinds")
    network = RecurrentActor(battle.num_actions, 8)
    seen = jnp.zeros((1, 1, battle.observation_size))
    starts = jnp.ones((1, 1), bool)
    params = network.init(jax.random.key(0), network.start(1), seen, starts)["params"]
    return TeamPolicy(network, params, {"win_rate": 0.25})


@pytest.fixture(scope="module")
def policy() -> TeamPolicy:
    return untrained(SIZE)


@pytest.fixture
def team(policy, monkeypatch):
    """What environments are made of: the untrained policy's team."""

    def packaged(size, teams, learned):
        return team_battle.TeamBattle(Battle(size, teams), policy)

    monkeypatch.setattr(smax_env, "packaged_battle", packaged)


@pytest.fixture
def env(team):
    """A led unit whose teammates follow the untrained policy."""
    return gymnasium.make(registered_spec(MIXED))


@pytest.mark.slow
def test_nothing_is_printed_by_the_import():
    program = "import ractd_jax.tasks.battle, sys; print(sys.stdout is sys.__stdout__)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True"]


@pytest.mark.slow
@pytest.mark.parametrize("teams", ["one_kind", "any_kinds", "mixed"])
def test_teams_have_the_kinds_they_are_named_by(teams):
    battle = Battle(3, teams)
    keys = jax.random.split(jax.random.key(0), 300)
    _, states = jax.vmap(battle.reset)(keys)
    kinds = np.asarray(battle.kinds(states))
    np.testing.assert_array_equal(kinds[:, :3], kinds[:, 3:])
    alike = (kinds[:, :3] == kinds[:, :1]).all(axis=1)
    share = np.bincount(kinds.ravel(), minlength=3) / kinds.size
    if teams == "any_kinds":
        # 0.45^3 + 0.45^3 + 0.1^3
        assert alike.mean() == pytest.approx(0.183, abs=0.07)
        np.testing.assert_allclose(share, [0.45, 0.45, 0.1], atol=0.06)
    else:
        assert alike.all() if teams == "one_kind" else not alike.any()
        assert (share > 0.05).all()


@pytest.mark.slow
def test_kinds_are_read_off_what_is_seen():
    """Of the units that JaxMARL shows, and none where it shows zeros."""
    task, battle = task_of(MIXED), Battle(SIZE, "mixed")
    keys = jax.random.split(jax.random.key(1), 40)
    scenes, states = jax.vmap(battle.reset)(keys)
    found = task.elements(np.asarray(scenes.observations))
    assert found.shape == (40, SIZE, 2 * SIZE)
    np.testing.assert_array_equal(
        found, task.elements(scenes.observations), err_msg="of a JAX array"
    )
    kinds = np.asarray(battle.kinds(states)) + 1
    hidden = 0
    for agent in range(SIZE):
        order = [agent, *(i for i in range(2 * SIZE) if i != agent)]
        mine = kinds[:, order]
        seen = found[:, agent]
        np.testing.assert_array_equal(seen[:, 0], mine[:, 0])
        hidden += (seen == 0).sum()
        np.testing.assert_array_equal(np.where(seen == 0, mine, seen), mine)
    assert 0 < hidden < found.size / 2
    assert task.num_kinds == len(KINDS) + 1 and task.num_elements == 2 * SIZE


@pytest.mark.slow
def test_a_battle_is_jaxmarls():
    """The same keys and actions give what JaxMARL's own environment gives."""
    battle = Battle(SIZE, "any_kinds")
    theirs = battle._env
    scene, state = battle.reset(jax.random.key(3))
    with contextlib.redirect_stdout(io.StringIO()):
        shown, other = theirs.reset(jax.random.key(3))
    for step in range(15):
        for i, agent in enumerate(theirs.agents):
            np.testing.assert_array_equal(scene.observations[i], shown[agent])
            np.testing.assert_array_equal(
                scene.available[i], theirs.get_avail_actions(other)[agent]
            )
        actions = jnp.array([step % 4, 4])
        key = jax.random.key(100 + step)
        scene, state, reward, over = battle.step(key, state, actions)
        named = dict(zip(theirs.agents, actions, strict=True))
        shown, other, rewards, dones, _ = theirs.step_env(key, other, named)
        assert reward == rewards[theirs.agents[0]] and over == dones["__all__"]


@pytest.mark.slow
def test_an_episode_is_its_seeds_and_masks_what_cannot_be_done(env):
    seen = []
    for _ in range(2):
        observation, _ = env.reset(seed=5)
        total, over, steps = 0.0, False, 0
        while not over and steps < 100:
            mask = env.unwrapped.action_masks()
            assert mask[4] and mask.shape == (5 + SIZE,)  # one can always stop
            observation, reward, over, cut, info = env.step(int(mask.argmax()))
            total, steps = total + reward, steps + 1
            assert not cut and isinstance(info["won"], bool)
        seen.append((total, steps, observation.tolist()))
    assert seen[0] == seen[1]
    env.reset(seed=6)
    (missing,) = np.flatnonzero(~env.unwrapped.action_masks())[:1]
    with pytest.raises(ValueError, match="expected an action of"):
        env.step(int(missing))
    with pytest.raises(ConfigError, match="options: expected 'agent', 0 to 1"):
        env.reset(seed=0, options={"agent": 2})


def test_a_planners_numbers_choose_among_what_can_be_done(team):
    env = task_of(MIXED).make(Environment(id=MIXED))
    for seed in range(20):
        env.reset(seed=seed)
        if not (mask := env.unwrapped.action_masks()).all():
            break
    assert not mask.all()
    numbers = np.where(mask, -1.0, 1.0)
    numbers[2] = -0.5
    assert env.action(numbers) == 2
    assert env.action_space.shape == (5 + SIZE,)
    assert task_of(MIXED).events(Environment(id=MIXED)) == ("win",)
    assert task_of(MIXED).happened({"won": True}) == ("win",)


@pytest.mark.slow
@pytest.mark.parametrize("agent", [0, 1])
def test_whole_rounds_are_replayed_by_a_led_unit(policy, env, agent):
    """Rounds side by side are the environment's, if the unit does as it did."""
    team = team_battle.TeamBattle(Battle(SIZE, "mixed"), policy)
    rounds = team_battle.play_rounds(team, np.arange(3, 7))
    for row in range(4):
        observation, _ = env.reset(seed=3 + row, options={"agent": agent})
        for step in range(rounds.lengths[row]):
            np.testing.assert_allclose(
                observation, rounds.observations[row, step, agent], atol=1e-5
            )
            action = rounds.actions[row, step, agent]
            observation, reward, over, _, info = env.step(int(action))
            assert reward == pytest.approx(rounds.rewards[row, step], abs=1e-5)
            assert over == (step == rounds.lengths[row] - 1)
        assert info["won"] == rounds.won[row]


@pytest.mark.slow
def test_a_random_unit_changes_its_own_actions_alone(policy):
    team = team_battle.TeamBattle(Battle(SIZE, "mixed"), policy)
    seeds = np.arange(64)
    led, random = (
        team_battle.play_rounds(team, seeds, leader) for leader in ("team", "random")
    )
    np.testing.assert_array_equal(led.observations[:, 0], random.observations[:, 0])
    np.testing.assert_array_equal(led.kinds, random.kinds)
    np.testing.assert_array_equal(led.actions[:, 0, 1], random.actions[:, 0, 1])
    assert (led.actions[:, 0, 0] != random.actions[:, 0, 0]).any()


def test_a_policy_is_stored_and_read(policy, tmp_path):
    save_team_policy(tmp_path / "team.npz", policy)
    again = load_team_policy(tmp_path / "team.npz")
    assert again.network == policy.network and again.metadata == policy.metadata
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, atol=2e-3),
        again.params,
        policy.params,
    )
    (tmp_path / "team.npz").write_bytes(b"no")
    with pytest.raises(DataError, match="expected a team's policy"):
        load_team_policy(tmp_path / "team.npz")


def test_a_size_without_a_policy_is_named():
    with pytest.raises(ConfigError, match="a team's policy is shipped for, found 9"):
        team_battle.packaged_battle(9, "mixed", "one_kind")


def test_teams_that_are_not_shipped_are_named():
    with pytest.raises(ConfigError, match=r"--size: expected teams .*, found smax-2v2"):
        smax_experiment(2, "hard", "smoke")


@pytest.mark.slow
def test_a_recording_is_of_won_battles_until_the_unit_dies():
    """And each view is the environment's, where the unit that it names is led."""
    episodes = list(record_smax("3v3-one_kind", 2_000, 0))
    assert sum(len(episode.rewards) for episode in episodes) >= 2_000
    assert len(episodes) % 3 == 0
    env = gymnasium.make(registered_spec(recording_environment("3v3-one_kind")))
    task = task_of(env.spec.id)
    died = 0
    for first in (0, 3):
        battle = episodes[first : first + 3]
        assert len({episode.seed for episode in battle}) == 1
        assert battle[0].seed >= 1_000_000
        for agent, episode in enumerate(battle):
            assert episode.options == {"agent": agent}
            seen, _ = env.reset(seed=episode.seed, options=episode.options)
            for state, action in zip(
                episode.observations[:-1], episode.actions, strict=True
            ):
                np.testing.assert_allclose(seen, state, atol=1e-5)
                assert task.elements(state)[0] > 0  # it lives
                seen, reward, over, _, info = env.step(int(action))
            np.testing.assert_allclose(seen, episode.observations[-1], atol=1e-5)
            alive = task.elements(seen)[0] > 0
            died += not alive
            # The battle is won, or goes on without the unit.
            assert info["won"] if alive else True
            assert reward == pytest.approx(episode.rewards[-1], abs=1e-5)
    assert died < 6


@pytest.mark.slow
def test_references_of_the_experiment():
    """The shipped team wins mostly, its likeliest action does not harm, chance does."""
    experiment = smax_experiment(3, "hard", "smoke")
    seeds = 10_000 + np.arange(200)
    shares = {
        name: play("ID", seeds).happened.mean()
        for name, play in experiment.references.items()
    }
    assert shares["MAPPO"] > 0.75 and shares["MAPPO, likeliest action"] > 0.75
    assert shares["random unit"] < shares["MAPPO"] - 0.2
    assert experiment.references["MAPPO"]("OOC", seeds).happened.mean() < 0.78
    states = experiment.observed("ID", seeds)
    kinds = task_of(experiment.environments["ID"]).elements(states)
    assert (kinds[:, 0] > 0).all() and states.shape[1] == 57


@pytest.mark.slow
def test_a_team_is_trained_and_stored(tmp_path):
    options = MappoOptions(num_envs=8, num_steps=8, num_minibatches=2, width=8)
    path = tmp_path / "team.npz"
    rates = train_team(2, "one_kind", 100, 0, path, "by a test", options)
    stored = load_team_policy(path)
    assert set(rates) == {"one_kind", "any_kinds", "mixed"}
    assert stored.metadata["win_rates"] == rates
    assert stored.metadata["command"] == "by a test"
    assert stored.network.width == 8
