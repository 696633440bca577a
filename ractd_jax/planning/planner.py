"""A trained teacher or student as an object that plans from raw observations."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ractd_jax import diffusion, models
from ractd_jax.data.normalizers import MinMaxNormalizer
from ractd_jax.errors import CheckpointError
from ractd_jax.models import Dimensions
from ractd_jax.settings import Settings, from_mapping
from ractd_jax.student import few_step_bins, sample_few_step
from ractd_jax.training.checkpoint import StoredModel

_CONSTANT_BYTES = 32 * 2**20


class Sampler(NamedTuple):
    """A sampler of normalised plans.

    Attributes:
      prepare: params -> weights; what is the same for every plan, computed once.
      sample: (weights, condition [B, C], noises [N, B, H, A]) -> plans [B, H, A].
      num_noises: N, standard normal draws of a plan's shape that it reads.
      nfe: network evaluations of a plan.
    """

    prepare: Callable[[Any], Any]
    sample: Callable[[Any, jax.Array, jax.Array], jax.Array]
    num_noises: int
    nfe: int


def make_sampler(unet, settings: Settings, role: str, num_steps: int) -> Sampler:
    """The sampler of a role.

    Args:
      unet: the network.
      settings: of the training.
      role: ``teacher`` (Heun steps over the Karras grid) or ``student`` (jumps).
      num_steps: Heun steps, or jumps.

    Raises:
      ValueError: an impossible number of steps.
    """
    noise = settings.diffusion
    scale = models.init_noise_scale(noise)
    if role == "teacher":
        if num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, not {num_steps}")

        def teacher(params, condition, noises):
            denoise_fn = models.make_denoise_fn(unet, params, condition, noise)
            sigmas = diffusion.karras_sigmas(
                num_steps + 1, noise.sigma_min, noise.sigma_max, noise.rho
            )
            plans = diffusion.sample_heun(
                diffusion.clip_denoised(denoise_fn), scale * noises[0], sigmas
            )
            return jnp.clip(plans, -1.0, 1.0)

        return Sampler(lambda params: params, teacher, 1, 2 * num_steps)

    bins = np.array(few_step_bins(num_steps, noise.num_scales), int)
    levels = [float(sigma) for sigma in np.asarray(models.bin_sigmas(noise))[bins]]

    def prepare(params):
        return {
            sigma: models.fold_jump(unet, params, sigma, noise)
            for sigma in (noise.sigma_max, *levels)
        }

    def student(weights, condition, noises):
        def jump_fn(x, sigma, sigma_stop):
            folded = models.make_folded_jump_fn(unet, weights[sigma], noise)
            return jnp.clip(folded(x, sigma, sigma_stop, condition), -1.0, 1.0)

        x_init = scale * noises[0]
        return sample_few_step(
            jump_fn, x_init, noises[1:], levels, noise.sigma_max, noise.sigma_min
        )

    return Sampler(prepare, student, num_steps, num_steps)


class Planner:
    """Plans in environment units; compiled once for each batch size.

    A plan depends on its own observation and key only, not on the rest of the batch.
    `unet`, `params` and :meth:`condition` are what the functions of `ractd_jax.models`
    take, to build other samplers from the same weights.

    Attributes:
      settings: of the training.
      dims: O, A, H and h.
      role: ``teacher`` or ``student``.
      num_steps: steps of the sampler.
      nfe: network evaluations of a plan.
      unet: the network.
      params: its weights, on the device.
      observation_normalizer: environment units to the network's.
      action_normalizer: the same of the actions.
      plan_fn: (weights, observations [B, O] or [B, h, O], key or [B] keys, first_only)
        -> [B, H, A] or [B, A]; pure, and for any B.
      weights: what `plan_fn` takes.
    """

    def __init__(
        self,
        settings: Settings,
        dims: Dimensions,
        role: str,
        params: Any,
        observation_normalizer: MinMaxNormalizer,
        action_normalizer: MinMaxNormalizer,
        num_steps: int,
    ):
        self.settings = settings
        self.dims = dims
        self.role = role
        self.num_steps = num_steps
        self.unet = models.make_unet(settings.network, dims)
        self.params = jax.device_put(params)
        self.observation_normalizer = observation_normalizer
        self.action_normalizer = action_normalizer
        sampler = make_sampler(self.unet, settings, role, num_steps)
        self.nfe = sampler.nfe
        # Not jitted: its outputs would be copies of all weights, one for each level.
        weights = sampler.prepare(self.params)
        shape = (sampler.num_noises, *dims.plan_shape)

        def condition(observations):
            normalized = observation_normalizer.normalize(observations)
            return normalized.reshape(observations.shape[0], -1)

        def plan(weights, observations, key, first_only):
            batch = observations.shape[0]
            keys = key if key.ndim else jax.random.split(key, batch)
            noises = jax.vmap(lambda k: jax.random.normal(k, shape), out_axes=1)(keys)
            plans = sampler.sample(weights, condition(observations), noises)
            plans = plans[:, 0] if first_only else plans
            return action_normalizer.unnormalize(plans)

        self.plan_fn, self.weights = plan, weights
        # As constants, the weights of a small network need no handling at each call,
        # which is a fifth of its time; those of a large one would bloat the program.
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(weights))
        if size <= _CONSTANT_BYTES:
            plan = functools.partial(plan, weights)
            self._plan = jax.jit(plan, static_argnames="first_only")
        else:
            compiled = jax.jit(plan, static_argnames="first_only")
            self._plan = functools.partial(compiled, weights)
        self._condition = condition

    def condition(self, observations: np.ndarray) -> np.ndarray:
        """[B, C] what the network is conditioned on; `observations` as :meth:`plan`."""
        return self._condition(self._checked_observations(observations))

    def plan(self, observations: np.ndarray, key: jax.Array) -> jax.Array:
        """Samples plans.

        Args:
          observations: [B, O] in environment units, or [B, h, O] (oldest first) when
            the planner was trained with a history h > 1.
          key: one PRNG key, or [B] keys, one for each plan.

        Returns:
          [B, H, A] actions in environment units.

        Raises:
          ValueError: the observations or keys have a wrong shape, or are not finite.
        """
        observations, key = self._checked(observations, key)
        return self._plan(observations, key, first_only=False)

    def act(self, observations: np.ndarray, key: jax.Array) -> jax.Array:
        """[B, A]: the first actions of :meth:`plan`, same arguments."""
        observations, key = self._checked(observations, key)
        return self._plan(observations, key, first_only=True)

    def _checked(self, observations, key):
        observations = self._checked_observations(observations)
        if key.ndim and key.shape != (len(observations),):
            raise ValueError(
                f"key: expected one key or [{len(observations)}] keys "
                f"(jax.random.key), found shape {list(key.shape)}"
            )
        return observations, key

    def _checked_observations(self, observations):
        observations = np.asarray(observations, np.float32)
        history, size = self.dims.history, self.dims.observation
        inner = (size,) if history == 1 else (history, size)
        if observations.shape[1:] != inner or len(observations) == 0:
            expected = ", ".join(["B", *map(str, inner)])
            raise ValueError(
                f"observations: expected shape [{expected}], found "
                f"{list(observations.shape)}"
            )
        if not np.isfinite(observations).all():
            raise ValueError("observations: expected finite numbers")
        return observations


def load_planner(
    directory: str | os.PathLike,
    *,
    num_steps: int | None = None,
    weights: str = "ema",
) -> Planner:
    """Loads the planner trained in `directory`.

    Args:
      directory: workdir of train_teacher or train_student.
      num_steps: Heun steps of a teacher (default 79, the training grid) or jumps of
        a student (default 1).
      weights: ``ema`` or ``raw``.

    Raises:
      CheckpointError: no readable checkpoint of a planner is there.
      ValueError: an impossible number of steps.
    """
    stored = StoredModel(directory)
    role = stored.metadata["stage"]
    if role not in ("teacher", "student"):
        raise CheckpointError(
            f"{directory}: expected a teacher or student checkpoint, found a {role} "
            "checkpoint"
        )
    settings = from_mapping(stored.metadata["settings"])
    dims = Dimensions(**stored.metadata["dimensions"])
    unet = models.make_unet(settings.network, dims)
    template = jax.eval_shape(
        lambda: models.init_unet(unet, dims, jax.random.key(0), role)
    )
    if num_steps is None:
        num_steps = settings.diffusion.num_scales - 1 if role == "teacher" else 1
    normalizers = {
        name: MinMaxNormalizer.from_dict(value)
        for name, value in stored.metadata["normalizers"].items()
    }
    return Planner(
        settings,
        dims,
        role,
        stored.load(template, weights),
        normalizers["observations"],
        normalizers["actions"],
        num_steps,
    )
