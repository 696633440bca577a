"""A recurrent policy of discrete actions, for agents that see a part of the world."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

_relu_init = nn.initializers.orthogonal(2**0.5)
_small_init = nn.initializers.orthogonal(0.01)


class _ResetGRU(nn.Module):
    """One step of a GRU, which forgets where an episode starts."""

    width: int

    @nn.compact
    def __call__(self, hidden, step):
        inputs, starts = step
        hidden = jnp.where(starts[:, None], 0.0, hidden)
        return nn.GRUCell(self.width, name="cell")(hidden, inputs)


class RecurrentActor(nn.Module):
    """Dense, GRU, Dense: the logits of each step, by all that was seen until then.

    ``RecurrentActor(A, W).apply({"params": p}, hidden, observations, starts)`` ->
    (hidden [B, W], logits [T, B, A]).

    Attributes:
      num_actions: A.
      width: W, of all layers.
    """

    num_actions: int
    width: int

    @nn.compact
    def __call__(
        self, hidden: jax.Array, observations: jax.Array, starts: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """hidden [B, W], observations [T, B, O] and starts [T, B], bool."""
        seen = nn.Dense(self.width, kernel_init=_relu_init, name="seen")(observations)
        steps = nn.scan(
            _ResetGRU, variable_broadcast="params", split_rngs={"params": False}
        )(self.width, name="memory")
        hidden, remembered = steps(hidden, (nn.relu(seen), starts))
        after = nn.Dense(self.width, kernel_init=_relu_init, name="after")(remembered)
        head = nn.Dense(self.num_actions, kernel_init=_small_init, name="head")
        return hidden, head(nn.relu(after))

    def start(self, batch_size: int) -> jax.Array:
        """[B, W] the memory before the first step."""
        return jnp.zeros((batch_size, self.width))
