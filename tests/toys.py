"""Toy data, settings, weights and plans, which several tests share."""

import dataclasses
import math
import types

import jax
import numpy as np

from ractd_jax import losses
from ractd_jax.data.episodes import build_episodes
from ractd_jax.data.sources import OfflineDataset, make_dataset
from ractd_jax.diffusion import EdmNoise
from ractd_jax.dimensions import Dimensions
from ractd_jax.methods import CtmStudent, EdmTeacher, PlanMethod
from ractd_jax.settings import Settings, from_mapping
from ractd_jax.storage.checkpoint import Checkpointer
from ractd_jax.training.parallel import WHOLE
from ractd_jax.training.state import create_state, make_optimizer

# Of plans of states.
HORIZON = 8


def toy_dataset() -> OfflineDataset:
    """Ten episodes of noise: O = 3, A = 2."""
    rng = np.random.default_rng(0)
    timeouts = np.zeros(120, bool)
    timeouts[11::12] = True
    episodes = build_episodes(
        {
            "observations": rng.standard_normal((120, 3)),
            "actions": rng.uniform(-1, 1, (120, 2)),
            "rewards": rng.standard_normal(120),
            "terminals": np.zeros(120, bool),
            "timeouts": timeouts,
        },
        "toy",
    )
    return make_dataset("toy", episodes)


def merged(sections: dict, changes: dict) -> dict:
    """`sections` with the options, or the plain values, of `changes`."""
    found = dict(sections)
    for name, options in changes.items():
        is_section = isinstance(options, dict)
        found[name] = found.get(name, {}) | options if is_section else options
    return found


def toy_settings(num_steps: int = 20, **sections) -> Settings:
    """Small networks on plans of 4 steps, a log line at each step."""
    small = {
        "task": "toy",
        "plan": {"horizon": 4},
        "network": {"widths": (8,), "embed_dim": 8},
        "teacher": {"num_steps": num_steps, "batch_size": 8},
        "reward": {
            "num_steps": num_steps,
            "batch_size": 8,
            "num_members": 2,
            "widths": (8,),
        },
        "student": {"num_steps": num_steps, "batch_size": 8, "reward_weight": 0.5},
        "run": {"steps_per_call": 1, "log_every": 1, "checkpoint_every": 10},
    }
    return from_mapping(merged(small, sections))


def stage_loss(stage):
    """(params, target_params, frozen, batch, key) -> (loss, info) on one device."""

    def loss_fn(params, target_params, frozen, batch, key):
        batch_size = len(jax.tree.leaves(batch)[0])
        draws = WHOLE.of_draws(stage.method.draw(key, batch_size))
        return stage.method.loss(params, target_params, frozen, batch, draws)

    return loss_fn


def with_loss(stage, loss):
    """`stage` with another loss of its method."""
    method = stage.method
    other = types.SimpleNamespace(
        name=method.name, init=method.init, draw=method.draw, loss=loss
    )
    return dataclasses.replace(stage, method=other)


def random_like(shapes, seed: int = 0):
    """Numpy normals of the right shapes: jax.random would compile for each of them."""
    rng = np.random.default_rng(seed)

    def draw(leaf):
        scale = math.prod(leaf.shape[:-1]) ** -0.5
        return rng.normal(0.0, scale, leaf.shape).astype(leaf.dtype)

    return jax.tree.map(draw, shapes)


def edm_teacher(network, dims, edm: EdmNoise | None = None) -> EdmTeacher:
    """The teacher around a network."""
    edm = edm or EdmNoise()
    squared = losses.distance("squared")
    return EdmTeacher(network, dims, edm, 80.0, (-1.2, 1.2), squared)


def ctm_student(network, dims, edm: EdmNoise | None = None) -> CtmStudent:
    """The student around a network."""
    teacher = edm_teacher(network, dims, edm)
    form = losses.StudentForm(teacher.distance)
    shared = network, dims, teacher.edm, teacher.init_scale, teacher.log_sigma
    return CtmStudent(*shared, 80, 20, form, 1.0, 0, 8, teacher)


def named_condition(flat, dims) -> dict:
    """The condition that a network sees as `flat` [B, C]."""
    found, start = {}, 0
    for name, shape in dims.condition_shapes.items():
        size = math.prod(shape)
        found[name] = flat[:, start : start + size].reshape(-1, *shape)
        start += size
    return found


def flat_condition(condition, dims) -> np.ndarray:
    """[B, C] what a network sees of a condition."""
    names = dims.condition_shapes
    parts = [np.asarray(condition[name]) for name in names]
    return np.concatenate([x.reshape(len(x), -1) for x in parts], axis=1)


def random_params(network, dims, stage, seed: int = 0):
    """Random weights of a planner's network."""
    make = ctm_student if stage == "student" else PlanMethod
    init = make(network, dims).init
    return random_like(jax.eval_shape(init, jax.random.key(0)), seed)


def state_dimensions(conditioning="film", goal=2):
    return Dimensions(
        4, 2, HORIZON, 1, goal=goal, conditioning=conditioning, plans_states=True
    )


def ends_of(plans) -> np.ndarray:
    return np.asarray(plans)[:, [0, -1]].reshape(len(plans), -1)


def random_weights(stage):
    """Parameters of a stage; its own first ones would be compiled op by op."""
    return random_like(jax.eval_shape(stage.init_params, jax.random.key(0)))


def save_untrained(stage, folder) -> None:
    """A checkpoint of `stage` with random weights, and others as their EMA."""
    optimizer = make_optimizer(stage.optimizer, stage.num_steps)
    params = random_weights(stage)
    state = jax.eval_shape(lambda: create_state(params, optimizer, False))
    state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), state)
    ema = random_like(params, seed=1)
    checkpointer = Checkpointer(folder)
    state = state.replace(params=params, ema_params=ema)
    checkpointer.save(state, stage.metadata)
    checkpointer.close()
