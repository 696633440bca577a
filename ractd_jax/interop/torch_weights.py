"""Converts PyTorch weights of Duan et al.'s code (2025) to our parameters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ractd_jax.errors import CheckpointError
from ractd_jax.networks import RewardModelConfig, TemporalUNetConfig

_UNUSED_PREFIXES = ("time_mlp.", "diffusion_step_encoder.")


class _Source:
    """The arrays of a state dict, with a record of those that have been read."""

    def __init__(self, state_dict: Mapping[str, np.ndarray]):
        strip = "model."
        self.arrays = {
            name.removeprefix(strip): np.asarray(array, np.float32)
            for name, array in state_dict.items()
        }
        self.read: set[str] = set()

    def get(self, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """The array `name`; None in `shape` accepts any size there."""
        if name not in self.arrays:
            raise CheckpointError(f"state_dict: array '{name}' is missing")
        array = self.arrays[name]
        matches = len(shape) == array.ndim and all(
            want is None or want == have
            for want, have in zip(shape, array.shape, strict=True)
        )
        if not matches:
            raise CheckpointError(
                f"state_dict: array '{name}' has shape {array.shape}, expected "
                f"{tuple('any' if size is None else size for size in shape)}"
            )
        self.read.add(name)
        return array

    def dense(self, name: str, rows: int | None, columns: int | None) -> dict:
        weight = self.get(f"{name}.weight", (columns, rows))
        bias = self.get(f"{name}.bias", (weight.shape[0],))
        return {"kernel": weight.T, "bias": bias}

    def conv(self, name: str, rows: int, columns: int | None, taps: int | None) -> dict:
        weight = self.get(f"{name}.weight", (columns, rows, taps))
        bias = self.get(f"{name}.bias", (weight.shape[0],))
        return {"kernel": weight.transpose(2, 1, 0), "bias": bias}

    def conv_transpose(self, name: str, width: int) -> dict:
        weight = self.get(f"{name}.weight", (width, width, 4))
        bias = self.get(f"{name}.bias", (width,))
        return {"kernel": weight.transpose(2, 0, 1), "bias": bias}

    def conv_block(self, name: str, rows: int, columns: int, taps: int) -> dict:
        return {
            "conv": self.conv(f"{name}.block.0", rows, columns, taps),
            "norm": {
                "scale": self.get(f"{name}.block.1.weight", (columns,)),
                "bias": self.get(f"{name}.block.1.bias", (columns,)),
            },
        }

    def check_all_read(self) -> None:
        unread = sorted(
            name
            for name in self.arrays.keys() - self.read
            if not name.startswith(_UNUSED_PREFIXES)
        )
        if unread:
            raise CheckpointError(
                f"state_dict: array '{unread[0]}' is not expected here"
            )


def convert_state_dict(
    state_dict: Mapping[str, np.ndarray], stage: str
) -> tuple[TemporalUNetConfig | RewardModelConfig, dict]:
    """Converts a released state dict to one of our networks.

    Args:
      state_dict: released PyTorch name -> numpy array, with or without the
        ``model.`` prefix.
      stage: ``teacher``, ``student`` or ``reward``.

    Returns:
      (config, params): the network's config, with widths, kernel size, embedding
      size and condition size read off the shapes, and the parameters for
      ``apply({"params": params}, ...)``.

    Raises:
      CheckpointError: an array is missing, has a wrong shape, or is not expected.
      ValueError: an unknown stage.
    """
    if stage not in ("teacher", "student", "reward"):
        raise ValueError(f"stage must be teacher, student or reward, not {stage!r}")
    source = _Source(state_dict)
    if stage == "reward":
        config, params = _reward(source)
    else:
        config, params = _planner(source, num_embeddings=2 if stage == "student" else 1)
    source.check_all_read()
    return config, params


def _planner(source: _Source, num_embeddings: int) -> tuple[TemporalUNetConfig, dict]:
    first = source.get("down_modules.0.0.blocks.0.block.0.weight", (None, None, None))
    plan_dim, taps = first.shape[1:]
    embed_dim = source.get("diffusion_step_encoder.3.weight", (None, None)).shape[0]
    film = source.get("down_modules.0.0.cond_encoder.1.weight", (None, None)).shape[1]
    condition_dim = film - num_embeddings * embed_dim
    if condition_dim <= 0:
        raise CheckpointError(
            "state_dict: array 'down_modules.0.0.cond_encoder.1.weight' has "
            f"{film} columns, too few for {num_embeddings} embeddings of {embed_dim}: "
            "is the stage right?"
        )
    widths = _level_widths(source, "down_modules.{}.0.blocks.0.block.0.weight")
    try:
        config = TemporalUNetConfig(
            plan_dim=plan_dim,
            widths=widths,
            embed_dim=embed_dim,
            kernel_size=taps,
            condition_dim=condition_dim,
        )
    except ValueError as error:
        raise CheckpointError(f"state_dict: the U-Net's shapes: {error}") from None

    def residual(name: str, rows: int, columns: int) -> dict:
        block = {
            "block_in": source.conv_block(f"{name}.blocks.0", rows, columns, taps),
            "block_out": source.conv_block(f"{name}.blocks.1", columns, columns, taps),
            "film": source.dense(f"{name}.cond_encoder.1", film, 2 * columns),
        }
        if rows != columns:
            block["skip"] = source.conv(f"{name}.residual_conv", rows, columns, 1)
        return block

    params = {
        "noise_embedding": {
            "dense_in": source.dense(
                "diffusion_step_encoder.1", embed_dim, 4 * embed_dim
            ),
            "dense_out": source.dense(
                "diffusion_step_encoder.3", 4 * embed_dim, embed_dim
            ),
        },
        "head_block": source.conv_block("final_conv.0", widths[0], widths[0], taps),
        "head": source.conv("final_conv.1", widths[0], plan_dim, 1),
    }
    last = len(widths) - 1
    rows = plan_dim
    for i, width in enumerate(widths):
        params[f"down_{i}_a"] = residual(f"down_modules.{i}.0", rows, width)
        params[f"down_{i}_b"] = residual(f"down_modules.{i}.1", width, width)
        if i < last:
            name = f"down_modules.{i}.2.conv"
            params[f"downsample_{i}"] = source.conv(name, width, width, 3)
        rows = width
    params["middle_a"] = residual("mid_modules.0", rows, rows)
    params["middle_b"] = residual("mid_modules.1", rows, rows)
    for i in range(last, 0, -1):
        name, width = f"up_modules.{last - i}", widths[i - 1]
        params[f"up_{i}_a"] = residual(f"{name}.0", 2 * widths[i], width)
        params[f"up_{i}_b"] = residual(f"{name}.1", width, width)
        params[f"upsample_{i}"] = source.conv_transpose(f"{name}.2.conv", width)
    return config, params


def _reward(source: _Source) -> tuple[RewardModelConfig, dict]:
    widths = _level_widths(source, "blocks.{}.0.blocks.0.weight")
    rows = source.get("blocks.0.0.blocks.0.weight", (None, None)).shape[1]
    params = {}

    def residual(name: str, rows: int, columns: int) -> dict:
        block = {
            "dense_in": source.dense(f"{name}.blocks.0", rows, columns),
            "dense_out": source.dense(f"{name}.blocks.2", columns, columns),
        }
        if rows != columns:
            block["skip"] = source.dense(f"{name}.residual_linear", rows, columns)
        return block

    for i, width in enumerate(widths):
        params[f"block_{i}_a"] = residual(f"blocks.{i}.0", rows, width)
        params[f"block_{i}_b"] = residual(f"blocks.{i}.1", width, width)
        rows = width
    params["head"] = source.dense("final_linear", rows, 1)
    return RewardModelConfig("residual_mlp", widths), params


def _level_widths(source: _Source, pattern: str) -> tuple[int, ...]:
    """Rows of the array `pattern` of each level that has any array at all."""
    prefix, rank = pattern.split("{}")[0], 3 if "down_modules" in pattern else 2
    found = [
        int(name[len(prefix) :].split(".")[0])
        for name in source.arrays
        if name.startswith(prefix) and name[len(prefix) :].split(".")[0].isdigit()
    ]
    levels = range(max(found, default=0) + 1)
    shape = (None,) * rank
    return tuple(source.get(pattern.format(i), shape).shape[0] for i in levels)
