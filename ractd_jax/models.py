"""From settings to networks, and from networks to the functions that solvers take."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ractd_jax import diffusion
from ractd_jax.diffusion.preconditioning import DenoiseFn
from ractd_jax.errors import ConfigError
from ractd_jax.losses import pessimistic_return
from ractd_jax.networks import (
    Compute,
    ResidualMLP,
    ResidualMLPConfig,
    RewardModel,
    RewardModelConfig,
    TemporalUNet,
    TemporalUNetConfig,
    fold_levels,
    fold_mlp_levels,
    pin_ends,
)
from ractd_jax.settings import Diffusion, Network, Reward
from ractd_jax.student import clean_estimate, move_towards

DenoiserNetwork = TemporalUNet | ResidualMLP


@dataclasses.dataclass(frozen=True)
class Dimensions:
    """What a plan is, and what it is made from.

    A plan of actions [H, A] is conditioned on the h latest observations, flat, behind
    the rank of a return if there is one. A plan of states [H, O] is conditioned on two,
    its start and its goal.

    Attributes:
      observation: O.
      action: A.
      horizon: H, steps of a plan.
      history: h.
      goal: G, leading components of a state that a goal names; 0 for plans of actions.
      conditioning: see :class:`ractd_jax.networks.TemporalUNetConfig`.
      rank: 1 where the rank of a return conditions plans, else 0.
    """

    observation: int
    action: int
    horizon: int
    history: int
    goal: int = 0
    conditioning: str = "film"
    rank: int = 0

    @property
    def plans_states(self) -> bool:
        return self.goal > 0

    @property
    def condition(self) -> int:
        states = 2 if self.plans_states else self.history
        return self.rank + states * self.observation

    @property
    def plan_shape(self) -> tuple[int, int]:
        return self.horizon, self.observation if self.plans_states else self.action

    @property
    def environment_observation(self) -> int:
        """Size of what an environment shows: the goal stands behind the state."""
        return self.observation + self.goal

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """Shape of what a plan is made from: [h, O] with a history h > 1."""
        size = self.environment_observation
        return (size,) if self.history == 1 else (self.history, size)

    @property
    def reward_inputs(self) -> tuple[int, int]:
        """Sizes of what a reward model compares: a state with an action or a goal."""
        return self.observation, self.goal or self.action


def make_network(
    settings: Network, dims: Dimensions, dropout_rate: float = 0.0
) -> DenoiserNetwork:
    """The denoiser's network, of the kind that the settings name.

    Raises:
      ConfigError: the plans do not fit it.
    """
    shared = {
        "embed_dim": settings.embed_dim,
        "noise_embedding": settings.noise_embedding,
        "dropout_rate": dropout_rate,
        "condition_dim": dims.condition,
        "compute": Compute(settings.conv, settings.dtype),
    }
    if settings.kind == "mlp":
        if dims.conditioning != "film":
            raise ConfigError(
                "config.plan.conditioning: expected 'film' with config.network.kind = "
                f"'mlp', which pins no ends, found {dims.conditioning!r}"
            )
        for name in ("patch_size", "fourier_octaves", "pin_reach"):
            found, plain = getattr(settings, name), getattr(Network(), name)
            if found != plain:
                raise ConfigError(
                    f"config.network.{name}: expected {plain} with "
                    f"config.network.kind = 'mlp', which has none, found {found}"
                )
        config = ResidualMLPConfig(
            plan_shape=dims.plan_shape,
            width=settings.mlp_width,
            num_blocks=settings.mlp_blocks,
            **shared,
        )
        network = ResidualMLP(config)
    else:
        config = TemporalUNetConfig(
            plan_dim=dims.plan_shape[1],
            widths=settings.widths,
            kernel_size=settings.kernel_size,
            num_groups=settings.num_groups,
            conditioning=dims.conditioning,
            patch_size=settings.patch_size,
            fourier_octaves=settings.fourier_octaves,
            pin_reach=settings.pin_reach,
            **shared,
        )
        network = TemporalUNet(config)
    try:
        config.check_horizon(dims.horizon)
    except ValueError as error:
        raise ConfigError(f"config.plan.horizon: {error}") from None
    return network


def make_reward_model(settings: Reward) -> RewardModel:
    """The reward model of these settings; one of goals and waves sees the way left."""
    of_goals = settings.target != "return_to_go"
    octaves = settings.fourier_octaves
    return RewardModel(
        RewardModelConfig(
            settings.kind, settings.widths, octaves, bool(octaves) and of_goals
        )
    )


def init_network(
    network: DenoiserNetwork, dims: Dimensions, key: jax.Array, role: str
) -> Any:
    """Fresh parameters; `role` says whether there is a second noise input."""
    x = jnp.zeros((1, *dims.plan_shape))
    level = jnp.zeros(1)
    stop = level if role == "student" else None
    return network.init(key, x, level, jnp.zeros((1, dims.condition)), stop)["params"]


def init_reward(
    model: RewardModel, dims: Dimensions, key: jax.Array, num_members: int
) -> Any:
    """Fresh parameters of `num_members` models, stacked on a leading axis."""

    def init(member_key):
        inputs = [jnp.zeros((1, size)) for size in dims.reward_inputs]
        return model.init(member_key, *inputs)["params"]

    return jax.vmap(init)(jax.random.split(key, num_members))


def pin(network: DenoiserNetwork, plans: jax.Array, condition: jax.Array) -> jax.Array:
    """Noisy `plans` with the ends that the condition fixes, if the network pins any."""
    return pin_ends(plans, condition) if network.config.pins_ends else plans


def pin_clean(
    network: DenoiserNetwork, plans: jax.Array, condition: jax.Array
) -> jax.Array:
    """:func:`pin` of clean plans, whose next steps move along with the ends."""
    if not network.config.pins_ends:
        return plans
    return pin_ends(plans, condition, network.config.pin_reach)


def make_denoise_fn(
    network: DenoiserNetwork,
    params: Any,
    condition: jax.Array,
    settings: Diffusion,
    **apply_options: Any,
) -> DenoiseFn:
    """The teacher's D(x, sigma) under `condition` [B, C]."""

    def denoise_fn(x, sigma):
        def network_fn(scaled, c_noise):
            return network.apply(
                {"params": params}, scaled, c_noise, condition, **apply_options
            )

        denoised = diffusion.denoise(
            network_fn,
            x,
            sigma,
            sigma_min=settings.sigma_min,
            sigma_data=settings.sigma_data,
            sigma_floor=settings.sigma_floor,
        )
        return pin_clean(network, denoised, condition)

    return denoise_fn


def make_ddpm_clean_fn(
    network: DenoiserNetwork,
    params: Any,
    condition: jax.Array,
    schedule: diffusion.DdpmSchedule,
    **apply_options: Any,
) -> diffusion.DdpmCleanFn:
    """x_0 from (x, timestep) under `condition` [B, C], as the network predicts it.

    An ``edm`` embedding, which is made for levels, is told of 250 ln(noise / signal),
    the ``released`` one of the timestep.
    """
    levels = 250.0 * (jnp.log(schedule.noise) - jnp.log(schedule.signal))

    def clean_fn(x, t):
        edm = network.config.noise_embedding == "edm"
        level = levels[t.astype(jnp.int32)] if edm else t  # t is float32.
        clean = network.apply({"params": params}, x, level, condition, **apply_options)
        return pin_clean(network, clean, condition)

    return clean_fn


def make_regression_fn(
    network: DenoiserNetwork, params: Any, dims: Dimensions, **apply_options: Any
) -> Callable[[jax.Array], jax.Array]:
    """condition [B, C] -> plans [B, H, D]: the network with nothing else to see."""

    def regression_fn(condition):
        # Not len(): of an exported program the number of rows is a symbol.
        blank = jnp.zeros((condition.shape[0], *dims.plan_shape))
        level = jnp.zeros(condition.shape[0])
        return network.apply(
            {"params": params}, blank, level, condition, **apply_options
        )

    return regression_fn


def make_clean_fn(
    network: DenoiserNetwork, params: Any, settings: Diffusion, **apply_options: Any
) -> Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]:
    """The student's g(x, sigma, sigma_stop, condition)."""

    def clean_fn(x, sigma, sigma_stop, condition):
        def network_fn(scaled, c_noise, c_noise_stop):
            return network.apply(
                {"params": params},
                scaled,
                c_noise,
                condition,
                c_noise_stop,
                **apply_options,
            )

        clean = clean_estimate(
            network_fn,
            x,
            sigma,
            sigma_stop,
            sigma_min=settings.sigma_min,
            sigma_data=settings.sigma_data,
            sigma_floor=settings.sigma_floor,
        )
        return pin_clean(network, clean, condition)

    return clean_fn


def make_jump_fn(
    network: DenoiserNetwork, params: Any, settings: Diffusion
) -> Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]:
    """The student's G(x, sigma, sigma_stop, condition)."""
    clean_fn = make_clean_fn(network, params, settings)

    def jump_fn(x, sigma, sigma_stop, condition):
        clean = clean_fn(x, sigma, sigma_stop, condition)
        return move_towards(x, clean, sigma, sigma_stop)

    return jump_fn


def fold_jump(
    network: DenoiserNetwork, params: Any, sigma: float, settings: Diffusion
) -> Any:
    """The student's parameters for jumps from `sigma` to sigma_min and no others."""
    told = max(sigma, settings.sigma_floor)
    levels = [250.0 * math.log(level) for level in (told, settings.sigma_min)]
    fold = fold_mlp_levels if isinstance(network, ResidualMLP) else fold_levels
    return fold(params, network.config, levels)


def make_folded_jump_fn(
    network: DenoiserNetwork, folded: Any, settings: Diffusion
) -> Callable[[jax.Array, float, float, jax.Array], jax.Array]:
    """:func:`make_jump_fn` with the parameters and for the levels of `fold_jump`."""

    def jump_fn(x, sigma, sigma_stop, condition):
        def network_fn(scaled, c_noise, c_noise_stop):
            del c_noise, c_noise_stop  # folded into the parameters
            return network.apply({"params": folded}, scaled, None, condition)

        clean = clean_estimate(
            network_fn,
            x,
            sigma,
            sigma_stop,
            sigma_min=settings.sigma_min,
            sigma_data=settings.sigma_data,
            sigma_floor=settings.sigma_floor,
        )
        clean = pin_clean(network, clean, condition)
        return move_towards(x, clean, sigma, sigma_stop)

    return jump_fn


def make_reward_fn(
    model: RewardModel, stacked_params: Any, pessimism: jax.typing.ArrayLike
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """R(observations, others) -> [B]: the ensemble's mean - pessimism * std.

    The others are actions, or goals: see :attr:`Dimensions.reward_inputs`.
    """

    def reward_fn(observations, others):
        def member(params):
            return model.apply({"params": params}, observations, others)

        return pessimistic_return(jax.vmap(member)(stacked_params), pessimism)

    return reward_fn


def make_plan_return_fn(
    reward_fn: Callable[[jax.Array, jax.Array], jax.Array], dims: Dimensions
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """(plans [B, H, D], condition [B, C]) -> [B] what the reward model says of them.

    Of a plan of actions it is R of the current observation and the first action, of a
    plan of states the sum of R of every state and the goal. Plans are clipped to the
    data's range first, as the planner clips them: beyond it there is nothing to gain.
    """

    def of_first_action(plans, condition):
        observations = condition[:, -dims.observation :]
        return reward_fn(observations, jnp.clip(plans[:, 0], -1.0, 1.0))

    def of_all_states(plans, condition):
        goals = condition[:, dims.observation :][:, : dims.goal]
        goals = jnp.repeat(goals, dims.horizon, axis=0)
        states = jnp.clip(plans, -1.0, 1.0).reshape(-1, dims.observation)
        return reward_fn(states, goals).reshape(-1, dims.horizon).sum(axis=-1)

    return of_all_states if dims.plans_states else of_first_action


def bin_sigmas(settings: Diffusion, num_scales: int = 0) -> jax.Array:
    """[N + 1] noise levels of bins 0..N; bin N clamps to sigma_min.

    `num_scales` is N; 0 takes the settings' own.
    """
    num_scales = num_scales or settings.num_scales
    return diffusion.karras_sigma(
        jnp.arange(num_scales + 1),
        num_scales,
        settings.sigma_min,
        settings.sigma_max,
        settings.rho,
    )


def init_noise_scale(settings: Diffusion) -> float:
    """Standard deviation of x_T."""
    return settings.init_noise_scale or settings.sigma_max
