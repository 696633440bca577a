"""What a plan is, and what it is made from."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple


class Bounds(NamedTuple):
    """What actions an environment takes.

    Attributes:
      low: A numbers; empty where nothing is known, or nothing bounds them.
      high: A numbers.
    """

    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class Dimensions:
    """Sizes of plans and conditions.

    A plan of actions [H, A] is conditioned on the h latest observations and, if
    ``rank`` is 1, on the rank of a return. A plan of states [H, O] is conditioned on
    its start and, unless ``goal`` is 0, on a second state, its goal; a joint one
    [H, O + A] on its start. A condition is a mapping, see :attr:`condition_shapes`.

    Attributes:
      observation: O.
      action: A.
      horizon: H, steps of a plan.
      history: h.
      goal: G, leading components of a state that a goal names; 0 for none.
      conditioning: see :class:`ractd_jax.networks.TemporalUNetConfig`.
      rank: 1 where the rank of a return conditions plans, else 0.
      family: name of the environment family, see :func:`ractd_jax.tasks.get_task`.
      plans_states: whether a plan holds states in place of actions.
      elements: E, elements of the scene that condition plans, see ``plan.elements`` of
        the settings; 0 for none.
      element_size: F, numbers of an element.
      element_kinds: K, kinds of which an element names one; 0 where it holds numbers.
        Kinds are read off an observation, others are given.
      joint: whether a plan holds states and actions, [H, O + A].
    """

    observation: int
    action: int
    horizon: int
    history: int
    goal: int = 0
    conditioning: str = "film"
    rank: int = 0
    family: str = ""
    plans_states: bool = False
    elements: int = 0
    element_size: int = 0
    element_kinds: int = 0
    joint: bool = False

    @property
    def condition_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each entry of one plan's condition, in the network's order."""
        if self.ends:
            shapes: dict[str, tuple[int, ...]]
            shapes = {end: (self.observation,) for end in self.ends}
            if self.elements:
                shapes["elements"] = self.elements, self.element_size
                shapes["known"] = (1,)
            return shapes
        shapes = {"rank": (self.rank,)} if self.rank else {}
        return {**shapes, "observations": (self.history, self.observation)}

    @property
    def ends(self) -> tuple[str, ...]:
        """Names of a plan's ends that condition it; none for plans of actions."""
        if not self.plans_states and not self.joint:
            return ()
        return ("start", "goal") if self.goal else ("start",)

    @property
    def condition(self) -> int:
        """Size of a condition, flat."""
        return sum(map(math.prod, self.condition_shapes.values()))

    @property
    def plan_shape(self) -> tuple[int, int]:
        if self.joint:
            return self.horizon, self.observation + self.action
        return self.horizon, self.observation if self.plans_states else self.action

    def actions_of(self, plans):
        """[..., A] what is executed of plans [..., D] with actions."""
        return plans[..., self.observation :] if self.joint else plans

    @property
    def environment_observation(self) -> int:
        """Size of an environment's observation, the state and then the goal."""
        return self.observation + self.goal

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """Shape of one row of ``Planner.plan``'s observations, [h, O] with h > 1.

        Elements that are given stand behind what the environment shows.
        """
        size = self.environment_observation
        if not self.element_kinds:
            size += self.elements * self.element_size
        return (size,) if self.history == 1 else (self.history, size)
