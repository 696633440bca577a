"""Every setting of a run, as frozen dataclasses: the one list of fields.

`configs/` turns these into ml_collections ConfigDicts and holds the presets;
:func:`from_mapping` turns a ConfigDict (or what a checkpoint stored) back, strictly:
an unknown key or a value of another type raises and names the field.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from ractd_jax.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Environment:
    # Gymnasium id to evaluate in; empty takes the one that the dataset names.
    id: str = ""
    # EnvSpec as JSON, filled in where a dataset's environment has options of its own.
    spec: str = ""
    # How Dict observations become vectors: auto, observation or all.
    flatten: str = "auto"
    # True return that scores 0; None, with score_max, takes the dataset's reference
    # returns, else D4RL's, else scores are raw returns.
    score_min: float | None = None
    # True return that scores 100.
    score_max: float | None = None
    # Where the two come from, filled in.
    score_source: str = ""

    def __post_init__(self):
        low, high = self.score_min, self.score_max
        if (low is None) != (high is None) or (low is not None and high <= low):
            raise ConfigError(
                "config.environment.score_max: expected more than "
                f"config.environment.score_min = {low}, or None for both, found {high}"
            )


@dataclasses.dataclass(frozen=True)
class Dataset:
    # Where the data comes from: minari (any id) or d4rl (an HDF5 file).
    source: str = "minari"
    # Minari id, or several with commas, used when source is minari.
    id: str = ""
    # Folder of Minari datasets; empty for Minari's own default.
    root: str = ""
    # Whether to download a Minari dataset that is not in the root.
    download: bool = True
    # HDF5 file, used when source is d4rl.
    path: str = ""
    # Time limit of an episode, for D4RL files without timeouts; None takes that of the
    # file's name.
    max_episode_steps: int | None = None
    # Which windows plans are learned from: uniform (all alike), top (the episodes with
    # the highest returns), advantage (more often where an action returned more than is
    # usual in its state) or both (advantage, among those of top).
    weighting: str = "uniform"
    # Share of the transitions that `top` keeps.
    top_fraction: float = 0.3
    # beta of `advantage`: windows are drawn with p ~ exp(beta A / std A).
    advantage_beta: float = 2.0
    # Largest p of `advantage`, relative to that of a window with A = 0.
    advantage_clip: float = 20.0
    # gamma of the returns-to-go that A is made of.
    advantage_discount: float = 0.99
    # How observations are normalised: minmax (to [-1, 1]; papers) or zscore (mean 0 and
    # standard deviation 1, clipped).
    observation_normalizer: str = "minmax"
    # Draw batches on the host (grain) for data larger than the device's memory.
    streaming: bool = False
    # Transitions that experiments.generate_dataset and the pipeline record.
    num_transitions: int = 1_000_000
    # Seed of the recording.
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Plan:
    # H, steps that a plan covers.
    horizon: int = 16
    # Environment steps between two states of a plan of states.
    stride: int = 1
    # h, latest observations that condition a plan.
    history: int = 1
    # Whether the rank of the episode's return, from -1 for the lowest to 1 for the
    # highest, conditions a plan of actions, too; evaluation.target_rank is asked for.
    return_condition: bool = False
    # Actions of a plan that are executed before the next plan.
    execute: int = 1
    # Weight of the executed actions in the losses on plans, relative to the others.
    executed_weight: float = 1.0
    # At an episode's end: repeat_last (repeat the last step) or drop (as released).
    padding: str = "repeat_last"
    # What a plan holds: actions, from the latest observations on, or states, from the
    # current one to a goal.
    kind: str = "actions"
    # How start and goal condition a plan of states: film (as released), ends (clamp the
    # plan's first and last state, as Diffuser does) or both.
    conditioning: str = "film"
    # The goal that a plan of states is trained for: arrival (a state at a random lag
    # within the plan, which then stays there) or last (the plan's last state).
    goal: str = "arrival"
    # Whether a plan of states is to be one way: windows stop where the data's own goal
    # changes, as what follows is the way to another one. Needs data with goals.
    split_at_goals: bool = False
    # Leading components of a state that a goal names: the position.
    goal_size: int = 2


@dataclasses.dataclass(frozen=True)
class Network:
    # unet (temporal U-Net; papers) or mlp (residual MLP, for short plans).
    kind: str = "unet"
    # Features of the MLP's hidden layers.
    mlp_width: int = 192
    # Residual blocks of the MLP.
    mlp_blocks: int = 2
    # What the networks see of a noise level: released (sinusoids of 250 ln sigma) or
    # edm (waves of ln(sigma) / 4).
    noise_embedding: str = "released"
    # Channels of each level of the U-Net.
    widths: tuple[int, ...] = (32, 64, 128)
    # Size of the noise-level embedding.
    embed_dim: int = 32
    # Taps of the convolutions.
    kernel_size: int = 5
    # Groups of the group norms.
    num_groups: int = 8
    # Steps of a plan that make up one position of the network (papers: 1).
    patch_size: int = 1
    # Octaves of Fourier features of the plan's steps and of the condition, for mazes,
    # whose walls are sharp; 0 for Duan et al.'s network.
    fourier_octaves: int = 0
    # Steps of a clean plan that move along with a pinned end; 0 for the end alone.
    pin_reach: int = 0
    # Convolutions as matmul, lax, or auto (matmul on CPUs and for few plans).
    conv: str = "auto"
    # dtype of the activations, float32 or bfloat16; parameters stay float32.
    dtype: str = "float32"


@dataclasses.dataclass(frozen=True)
class Diffusion:
    # Lowest noise level, the "time zero" of Duan et al. (2025).
    sigma_min: float = 0.02
    # Highest noise level.
    sigma_max: float = 80.0
    # Standard deviation of the normalised plans; None measures it over the dataset.
    sigma_data: float | None = 0.5
    # For smooth plans: the network gives the clean plan itself and is told of no level
    # below this one; None for EDM's preconditioning.
    sigma_floor: float | None = None
    # Curvature of the Karras grid.
    rho: float = 7.0
    # N, levels of the grid.
    num_scales: int = 80
    # Standard deviation of x_T: None takes sigma_max (principled); released: 1.
    init_noise_scale: float | None = None
    # Mean of ln sigma in training.
    log_sigma_mean: float = -1.2
    # Standard deviation of ln sigma in training.
    log_sigma_std: float = 1.2

    def __post_init__(self):
        if self.sigma_max <= self.sigma_min:
            raise ConfigError(
                "config.diffusion.sigma_max: expected more than "
                f"config.diffusion.sigma_min = {self.sigma_min}, found {self.sigma_max}"
            )


@dataclasses.dataclass(frozen=True)
class Optimizer:
    # Peak learning rate of AdamW.
    learning_rate: float = 1e-4
    # Decoupled weight decay.
    weight_decay: float = 1e-6
    # First moment's decay.
    beta1: float = 0.95
    # Second moment's decay.
    beta2: float = 0.999
    # Steps of linear warm-up from 0.
    warmup_steps: int = 500
    # After the warm-up: cosine (to 0 at the last step) or constant.
    schedule: str = "cosine"
    # Global gradient norm to clip at; None for no clipping.
    max_grad_norm: float | None = None
    # EMA decay at step k is 1 - (1 + k)^-ema_power, capped by ema_max_decay.
    ema_power: float = 0.75
    # Cap of the EMA decay.
    ema_max_decay: float = 0.9999


@dataclasses.dataclass(frozen=True)
class Teacher:
    # Optimiser steps.
    num_steps: int = 6_000
    # Plans per step over all devices.
    batch_size: int = 128
    # Distance of the DSM loss: squared, pseudo_huber or released.
    distance: str = "released"
    # Dropout rate of the U-Net.
    dropout_rate: float = 0.0
    optimizer: Optimizer = Optimizer()


@dataclasses.dataclass(frozen=True)
class Ddpm:
    # T, steps of the discrete diffusion.
    num_timesteps: int = 100
    # Optimiser steps.
    num_steps: int = 6_000
    # Plans per step over all devices.
    batch_size: int = 128
    # Distance of its loss: squared, pseudo_huber or released.
    distance: str = "squared"
    # Dropout rate of the U-Net.
    dropout_rate: float = 0.0
    optimizer: Optimizer = Optimizer()


@dataclasses.dataclass(frozen=True)
class Reward:
    # Optimiser steps.
    num_steps: int = 3_000
    # State-action pairs per step over all devices.
    batch_size: int = 256
    # residual_mlp (Duan et al.'s code) or conv (their text).
    kind: str = "residual_mlp"
    # Hidden widths.
    widths: tuple[int, ...] = (64, 128, 256)
    # Octaves of Fourier features of the inputs; 0 for Duan et al.'s model.
    fourier_octaves: int = 0
    # Models of the ensemble, trained together on their own batches.
    num_members: int = 5
    # What it predicts: return_to_go of a state and an action; of a state and a goal,
    # goal_indicator (1 within the goal's radius) or goal_return (the discount
    # to the power of the steps until then, the discounted return's form).
    target: str = "return_to_go"
    # Radius of a goal, in the units of the data.
    goal_radius: float = 0.5
    # Of goal_return: every n-th state is moved off the data, where it returns nothing;
    # None for no state.
    off_data_every: int | None = None
    # gamma of the return-to-go.
    discount: float = 0.997
    # Added to the reward of a step that the environment ended.
    termination_penalty: float = -100.0
    # Share of the episodes held out to measure the error.
    holdout_fraction: float = 0.1
    optimizer: Optimizer = Optimizer(
        learning_rate=3e-3, weight_decay=1e-3, beta1=0.9, warmup_steps=0
    )


@dataclasses.dataclass(frozen=True)
class Student:
    # Optimiser steps.
    num_steps: int = 2_000
    # Plans per step over all devices.
    batch_size: int = 128
    # Distance of the CTM and DSM losses: squared, pseudo_huber or released.
    distance: str = "squared"
    # Dropout rate of the trained network; frozen networks run without.
    dropout_rate: float = 0.0
    # alpha, weight of the CTM loss (papers: 1).
    ctm_weight: float = 50.0
    # beta, weight of the DSM loss (papers: 1).
    dsm_weight: float = 5.0
    # sigma_r, weight of the reward loss; 0 is CTD.
    reward_weight: float = 1.0
    # kappa, weight of the path loss: jumps from points of the teacher's own paths to
    # where those end; 0 for none (papers).
    path_weight: float = 0.0
    # Points of the path loss, each from a path of its own, solved before the training.
    num_paths: int = 65_536
    # Points per step of the path loss over all devices.
    path_batch_size: int = 256
    # Heun steps of a path.
    path_steps: int = 10
    # Share of the points that are the noise x_T itself; the others lie within a path.
    path_start_share: float = 0.75
    # Standard deviation of what is added to the normalised conditions of every second
    # path: the teacher can be asked anywhere, and a student goes where no data is.
    path_condition_noise: float = 0.0
    # Every second path starts from noise scaled by a number drawn from this one to 1,
    # so that one step is faithful at those temperatures, too.
    path_temperature: float = 0.0
    # What the DSM loss compares with data: denoiser (CTM) or jump (released).
    dsm_form: str = "denoiser"
    # N of the student's time grid; None takes diffusion.num_scales (released).
    num_scales: int | None = 20
    # Clean plan that the reward sees: dsm (the DSM branch) or one_step (a sample).
    reward_input: str = "dsm"
    # k of reward = mean - k std over the ensemble's members.
    pessimism: float = 4.0
    # The noise of one_step is scaled by a number drawn from this one to 1, so that the
    # reward is felt at the temperatures that plans are sampled at.
    reward_temperature: float = 1.0
    # Most that an action may be predicted to gain over the data's own action in the
    # same state, in units of the normalised return; None for no cap (papers).
    advantage_cap: float | None = 0.03
    # Members of the ensemble to use, the first ones; None for all.
    num_members: int | None = None
    # Teacher weights to distil from: ema or raw (released).
    teacher_weights: str = "ema"
    # Decay of the target network's EMA; 0 is a stop-gradient copy (released).
    target_ema: float = 0.0
    # Longest teacher solve t -> u, in grid bins (Heun steps).
    max_solver_steps: int = 1
    optimizer: Optimizer = Optimizer(weight_decay=1e-4)


@dataclasses.dataclass(frozen=True)
class BehaviourCloning:
    # Optimiser steps.
    num_steps: int = 5_000
    # Plans per step over all devices.
    batch_size: int = 256
    # Dropout rate of the network.
    dropout_rate: float = 0.0
    optimizer: Optimizer = Optimizer()


@dataclasses.dataclass(frozen=True)
class Controller:
    # What follows a plan of states: position_velocity (Diffuser's, in the plan's own
    # time), pursuit (the plan's way at full speed) or inverse_dynamics (learned).
    kind: str = "position_velocity"
    # Gain of the position's error; None for the controller's own default.
    gain_position: float | None = None
    # Gain of the velocity's error; None for the controller's own default.
    gain_velocity: float | None = None
    # Distance at which pursuit aims along the plan, in the units of the positions.
    lookahead: float = 0.3
    # Steps between plans; None for one plan an episode (open loop).
    replan_every: int | None = None


@dataclasses.dataclass(frozen=True)
class InverseDynamics:
    # Optimiser steps.
    num_steps: int = 5_000
    # Pairs of observations per step over all devices.
    batch_size: int = 256
    # Hidden widths, a residual block for each.
    widths: tuple[int, ...] = (128, 128)
    # Share of the episodes held out to measure the error.
    holdout_fraction: float = 0.1
    # Env steps between the two observations; the action is that of the first.
    stride: int = 1
    optimizer: Optimizer = Optimizer(
        learning_rate=1e-3, weight_decay=1e-4, beta1=0.9, warmup_steps=0
    )


@dataclasses.dataclass(frozen=True)
class Evaluation:
    # Episodes, one for each environment and seed.
    num_episodes: int = 100
    # Seed of the first episode's reset; the others count on.
    seed: int = 10_000
    # Heun steps of the teacher's sampler when evaluated.
    teacher_steps: int = 79
    # Jumps of the student's sampler when evaluated, 1 to 4.
    student_steps: int = 1
    # Scale of the noise that plans start from: 1 samples what was learned, less keeps
    # nearer to its middle, 0 always gives the same plan.
    temperature: float = 1.0
    # Rank of the return that plans of plan.return_condition are asked for: 1, the best.
    target_rank: float = 1.0
    # Plans sampled together, of which the one with the best predicted return is taken.
    num_candidates: int = 1
    # Noise that plans start from: drawn anew at each_step, or once for each_episode.
    noise: str = "each_step"
    # Processes that step the environments of planners of actions, each a share, while
    # the planner plans for the others; 0 steps them in the planner's process. Each
    # takes seconds to start.
    num_workers: int = 0


@dataclasses.dataclass(frozen=True)
class Run:
    # Optimiser steps inside one compiled call.
    steps_per_call: int = 50
    # Optimiser steps between log lines.
    log_every: int = 100
    # Optimiser steps between checkpoints.
    checkpoint_every: int = 1_000
    # Checkpoints to keep.
    keep_checkpoints: int = 2
    # Log to Weights & Biases too (needs the wandb package).
    wandb: bool = False


@dataclasses.dataclass(frozen=True)
class Settings:
    # Task name, for folders and for matching checkpoints.
    task: str = "hopper-medium-expert"
    # Seed of the training.
    seed: int = 0
    environment: Environment = Environment()
    dataset: Dataset = Dataset()
    plan: Plan = Plan()
    network: Network = Network()
    diffusion: Diffusion = Diffusion()
    teacher: Teacher = Teacher()
    ddpm: Ddpm = Ddpm()
    bc: BehaviourCloning = BehaviourCloning()
    reward: Reward = Reward()
    student: Student = Student()
    controller: Controller = Controller()
    inverse_dynamics: InverseDynamics = InverseDynamics()
    evaluation: Evaluation = Evaluation()
    run: Run = Run()


_CHOICES = {
    "dataset.source": ("minari", "d4rl"),
    "dataset.weighting": ("uniform", "top", "advantage", "both"),
    "dataset.observation_normalizer": ("minmax", "zscore"),
    "network.kind": ("unet", "mlp"),
    "network.noise_embedding": ("released", "edm"),
    "environment.flatten": ("auto", "observation", "all"),
    "plan.padding": ("repeat_last", "drop"),
    "plan.kind": ("actions", "states"),
    "plan.conditioning": ("film", "ends", "both"),
    "plan.goal": ("arrival", "last"),
    "controller.kind": ("position_velocity", "pursuit", "inverse_dynamics"),
    "reward.target": ("return_to_go", "goal_indicator", "goal_return"),
    "network.conv": ("auto", "matmul", "lax"),
    "network.dtype": ("float32", "bfloat16"),
    "reward.kind": ("residual_mlp", "conv"),
    "evaluation.noise": ("each_step", "each_episode"),
    "student.dsm_form": ("denoiser", "jump"),
    "student.reward_input": ("dsm", "one_step"),
    "student.teacher_weights": ("ema", "raw"),
    **{
        f"{stage}.optimizer.schedule": ("cosine", "constant")
        for stage in ("teacher", "ddpm", "bc", "reward", "student", "inverse_dynamics")
    },
    **{
        f"{stage}.distance": ("squared", "pseudo_huber", "released")
        for stage in ("teacher", "ddpm", "student")
    },
}
_POSITIVE = ("num_steps", "batch_size", "horizon", "history", "goal_size",
             "goal_radius", "num_candidates", "num_timesteps",
             "patch_size", "embed_dim",
             "kernel_size", "num_groups", "sigma_max",
             "steps_per_call", "log_every", "checkpoint_every", "keep_checkpoints",
             "num_episodes", "teacher_steps", "student_steps", "max_solver_steps",
             "num_transitions", "stride", "sigma_min", "rho",
             "execute", "executed_weight", "mlp_width", "mlp_blocks", "num_paths",
             "path_batch_size", "path_steps", "top_fraction", "advantage_beta",
             "advantage_clip", "num_members", "num_scales", "max_episode_steps",
             "init_noise_scale", "sigma_floor", "sigma_data", "max_grad_norm",
             "off_data_every", "replan_every")  # fmt: skip

_LARGE = float("inf")
# Lowest and highest value, and whether the highest itself is too much.
_RANGES = {
    "learning_rate": (0.0, _LARGE, True),
    "weight_decay": (0.0, _LARGE, True),
    "beta1": (0.0, 1.0, True),
    "beta2": (0.0, 1.0, True),
    "warmup_steps": (0, _LARGE, True),
    "ema_power": (0.0, _LARGE, True),
    "ema_max_decay": (0.0, 1.0, True),
    "dropout_rate": (0.0, 1.0, True),
    "discount": (0.0, 1.0, False),
    "holdout_fraction": (0.0, 1.0, True),
    "target_ema": (0.0, 1.0, True),
    "advantage_cap": (0.0, _LARGE, True),
    **{
        name: (0.0, _LARGE, True)
        for name in ("sigma_data", "sigma_floor", "init_noise_scale", "max_grad_norm")
    },
    "gain_position": (0.0, _LARGE, True),
    "gain_velocity": (0.0, _LARGE, True),
    "lookahead": (0.0, _LARGE, True),
    "num_workers": (0, _LARGE, True),
    "temperature": (0.0, _LARGE, True),
    "top_fraction": (0.0, 1.0, False),
    "advantage_discount": (0.0, 1.0, False),
    "target_rank": (-1.0, 1.0, False),
    "path_weight": (0.0, _LARGE, True),
    "path_start_share": (0.0, 1.0, False),
    "path_temperature": (0.0, 1.0, False),
    "reward_temperature": (0.0, 1.0, False),
    "path_condition_noise": (0.0, _LARGE, True),
    "pin_reach": (0, _LARGE, True),
    "fourier_octaves": (0, _LARGE, True),
}


def to_dict(settings: Settings) -> dict:
    """Nested plain dicts, with tuples as they are."""
    return dataclasses.asdict(settings)


def differences(
    before: Mapping, now: Mapping, default: Mapping | None = None, prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """(name, before, now) of what differs between settings read from JSON and others.

    A setting that `before` does not know counts as its default there: the default of
    a new setting does what was done before there was one.
    """
    if default is None:
        default = json.loads(json.dumps(to_dict(Settings())))
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key, default.get(key)), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            within = default.get(key, {})
            yield from differences(old, new, within, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key}", old, new


def from_mapping(mapping: Mapping, default=Settings(), prefix: str = ""):  # noqa: B008
    """`default` with the values of nested mappings in place of its own.

    Raises:
      ConfigError: an unknown key, a value of another type, or one out of range.
    """
    if not hasattr(mapping, "items"):
        name = f"config.{prefix}"[:-1]
        raise ConfigError(f"{name}: expected a section, found {mapping!r}")
    hints = typing.get_type_hints(type(default))
    values = {}
    for key, value in mapping.items():
        name = f"{prefix}{key}"
        if key not in hints:
            known = ", ".join(sorted(hints))
            raise ConfigError(f"config.{name} is not a setting; known here: {known}")
        if dataclasses.is_dataclass(hints[key]):
            values[key] = from_mapping(value, getattr(default, key), f"{name}.")
        else:
            values[key] = _checked(name, key, value, hints[key])
    return dataclasses.replace(default, **values)


def is_optional(hint) -> bool:
    """Whether a field of this type may be None."""
    return type(None) in typing.get_args(hint)


def _checked(name: str, key: str, value, hint):
    expected = hint.__name__ if isinstance(hint, type) else str(hint)
    if is_optional(hint):
        if value is None:
            return None
        (hint,) = (kind for kind in typing.get_args(hint) if kind is not type(None))
        expected = f"{hint.__name__} or None"
    if hint is float and type(value) is int:
        value = float(value)
    elif typing.get_origin(hint) is tuple:
        whole = isinstance(value, (list, tuple)) and all(type(v) is int for v in value)
        if not whole or not value or min(value) < 1:
            raise ConfigError(
                f"config.{name}: expected positive integers, found {value!r}"
            )
        return tuple(value)
    if type(value) is not hint:
        raise ConfigError(
            f"config.{name}: expected {expected}, found "
            f"{type(value).__name__} {value!r}"
        )
    if name in _CHOICES and value not in _CHOICES[name]:
        raise ConfigError(f"config.{name}: expected {_CHOICES[name]}, found {value!r}")
    if (key in _POSITIVE or name in _POSITIVE) and not value > 0:
        raise ConfigError(f"config.{name}: expected more than 0, found {value!r}")
    if key in _RANGES:
        low, high, open_above = _RANGES[key]
        if not low <= value <= high or (open_above and value == high):
            bound = f"{low} <= value {'<' if open_above else '<='} {high}"
            raise ConfigError(f"config.{name}: expected {bound}, found {value!r}")
    return value
