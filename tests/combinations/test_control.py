"""The cells of policies among kinds: trained once, kept when cut off, shown in a table.

On a toy: a state shows two kinds and a number, and the action has to name a kind.
"""

import dataclasses
import json
import time

import gymnasium
import numpy as np
import pytest

from ractd_jax import tasks
from ractd_jax.data.recorded import RecordedEpisode
from ractd_jax.errors import ConfigError, DataError
from ractd_jax.pipelines.combinations import control
from ractd_jax.pipelines.combinations.cells import TrainingTimes
from ractd_jax.pipelines.combinations.control import (
    Experiment,
    Outcomes,
    rows_of,
    run_control_cell,
    write_control_tables,
)
from ractd_jax.pipelines.combinations.maze import write_maze_tables
from ractd_jax.presets.combinations import get_smax
from ractd_jax.recording.minari_writer import save_minari
from ractd_jax.settings import from_mapping

ID, ALIKE, OTHER = "toy/Named-v0", "alike", "other"
IDS = {ALIKE: ID, OTHER: "toy/Named-Other-v0"}
STEPS, ACTIONS = 6, 3


class Named(gymnasium.Env):
    """Named in the last step, the first kind wins; both kinds alike, or not."""

    observation_space = gymnasium.spaces.Box(-1.0, 2.0, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(ACTIONS)

    def __init__(self, alike: bool):
        self._alike = alike

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        first = self.np_random.integers(2)
        self._kinds = [first, first if self._alike else 1 - first]
        self._step = 0
        return self._seen(), {}

    def step(self, action):
        self._step += 1
        over = self._step == STEPS
        won = over and action == self._kinds[0]
        return self._seen(), float(won), over, False, {"won": won}

    def _seen(self):
        return np.array([*self._kinds, self._step / STEPS], np.float32)


class NamedTask(tasks.Task):
    name, pattern = "toy_named", r"toy/Named.*"
    num_elements, num_kinds = 2, 3

    def register_ids(self):
        for where, name in IDS.items():
            if name not in gymnasium.registry:
                gymnasium.register(
                    name,
                    f"{__name__}:Named",
                    kwargs={"alike": where == ALIKE},
                    max_episode_steps=100,
                )

    def make(self, environment):
        from ractd_jax.tasks.discrete import OneHotActions

        return OneHotActions(super().make(environment))

    def encode_actions(self, actions):
        from ractd_jax.tasks.discrete import one_hot

        return one_hot(actions, ACTIONS)

    def elements(self, states):
        return 1.0 + states[..., :2]

    def events(self, environment):
        return ("win",)

    def happened(self, info):
        return ("win",) if info.get("won") else ()


def winning_episodes(number: int):
    env = Named(True)
    for seed in range(number):
        seen, over = [env.reset(seed=seed)[0]], False
        actions, rewards = [], []
        while not over:
            actions.append(int(seen[0][0]))
            state, reward, over, *_ = env.step(actions[-1])
            seen.append(state)
            rewards.append(reward)
        yield RecordedEpisode(
            np.stack(seen), np.array(actions), np.float32(rewards), True, False, seed
        )


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    root = str(tmp_path_factory.mktemp("data"))
    tasks.register(NamedTask())
    NamedTask().register_ids()
    spec = gymnasium.spec(ID)
    save_minari(
        "toy/named-v0",
        list(winning_episodes(60)),
        spec,
        root,
        algorithm="by hand",
        description="{}",
    )

    def settings(seed):
        config = get_smax(3, "one_kind", "smoke").unlock()
        config.task, config.environment.id = "toy", ID
        config.dataset.id, config.dataset.root = "toy/named-v0", root
        config.plan.horizon = 4
        return dataclasses.replace(from_mapping(config.to_dict()), seed=seed)

    def nobody(where, seeds):
        return Outcomes(np.zeros(len(seeds), bool), np.zeros(len(seeds)))

    def observed(where, seeds):
        env = Named(where == ALIKE)
        return np.stack([env.reset(seed=int(seed))[0] for seed in seeds])

    yield Experiment(
        name="toy-named",
        event="win",
        settings=settings,
        environments=IDS,
        references={"nobody": nobody},
        observed=observed,
        weights=(1.0,),
        large_bc=True,
    )
    del tasks._TASKS["toy_named"]


@pytest.mark.slow
def test_a_cell_is_trained_evaluated_and_shown(experiment, tmp_path, monkeypatch):
    folders = tmp_path / "a/trainings/cell", tmp_path / "results/toy/seed_0"
    run_control_cell(experiment, 0, *folders, 4)
    cell = json.loads((folders[1] / "cell.json").read_text())
    labels = [row.label for row in rows_of(experiment, experiment.settings(0))]
    assert list(cell["rows"]) == ["nobody", *labels] and len(labels) == 7
    assert labels[2] == "BC, as large as attention"
    assert "one step, attention, weight 1" in labels
    assert cell["rows"]["one step, attention, weight 1"]["nfe"] == 1
    large, attention = (
        cell["rows"][label]["parameters"] for label in (labels[2], labels[5])
    )
    assert large == pytest.approx(attention, rel=0.02)
    for row in cell["rows"].values():
        for where in IDS:
            assert 0.0 <= row[where]["share"] == row[where]["return"] <= 1.0
    checks = cell["checks"]
    assert checks[ALIKE]["combinations_seen"] == 1.0
    assert checks[OTHER]["combinations_seen"] == 0.0
    # A slot shows each kind as often as training did, and both kinds are there.
    assert checks["data"]["marginals"][0][0] == 0.0
    assert min(checks[OTHER]["marginals"][1][1:]) > 0.0
    text = write_control_tables(tmp_path / "results")
    assert "| nobody | 0.0 | 0.0 | 0.00 | 0.00 | - | - | - |" in text
    # A cell that was cut off evaluates again what it has no file of, and nothing else.
    (folders[1] / "cell.json").unlink()
    (folders[0] / "rows/cql.json").unlink()
    played = []
    evaluate = control._evaluate

    def counted(experiment, planner, seeds):
        played.append(planner.stage)
        return evaluate(experiment, planner, seeds)

    monkeypatch.setattr(control, "_evaluate", counted)
    run_control_cell(experiment, 0, *folders, 4)
    assert played == ["cql"]
    again = json.loads((folders[1] / "cell.json").read_text())
    kept = {label: row for label, row in cell["rows"].items() if label != "CQL"}
    assert {label: again["rows"][label] for label in kept} == kept
    with pytest.raises(ConfigError, match="--num_episodes: .* has 4, found 5"):
        run_control_cell(experiment, 0, *folders, 5)


def test_a_folder_without_cells_says_so(tmp_path):
    assert write_control_tables(tmp_path) == "no cell is finished yet\n"


def toy_cell(folder, **about):
    """A finished cell of an experiment ``toy``."""
    folder.mkdir(parents=True)
    about = {"settings": {"seed": 0}, "num_episodes": 4} | about
    cell = {"experiment": "toy", "rows": {}, "about": about}
    cell["asked"] = ["settings", "num_episodes"]
    (folder / "cell.json").write_text(json.dumps(cell))


@pytest.mark.parametrize(
    "other", [{"num_episodes": 5}, {"settings": {"seed": 1, "plan": "longer"}}]
)
def test_cells_of_different_kinds_are_not_averaged(tmp_path, other):
    toy_cell(tmp_path / "toy/seed_0")
    toy_cell(tmp_path / "toy/seed_1", **other)
    with pytest.raises(ConfigError, match="--results: expected cells of toy with the"):
        write_control_tables(tmp_path)


def test_cells_of_another_task_and_damaged_ones_are_named(tmp_path):
    toy_cell(tmp_path / "toy/seed_0")
    with pytest.raises(ConfigError, match="--results: expected cells of one task"):
        write_maze_tables(tmp_path)
    (tmp_path / "toy/seed_0/cell.json").write_text("{")
    with pytest.raises(DataError, match="expected a finished cell"):
        write_control_tables(tmp_path)


def test_seconds_of_a_training_add_up(tmp_path):
    for _ in range(2):
        times = TrainingTimes(tmp_path)
        with pytest.raises(KeyboardInterrupt), times.measure("teacher"):
            time.sleep(0.05)
            raise KeyboardInterrupt
    assert 0.1 <= TrainingTimes(tmp_path).seconds["teacher"] < 1.0
