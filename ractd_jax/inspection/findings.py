"""What is odd about a dataset: one list of findings, with what to do about each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from ractd_jax.inspection.columns import LARGEST_ROOT, Column
from ractd_jax.inspection.facts import Facts

# A warning may spoil a training, and every training logs it. A note is for who looks.
WARNING, NOTE = "warning", "note"

_MANY_SATURATED = 0.9
# Cores narrower than this, in normalised units, are warned of; of rewards, which are
# often sparse, only these shares of the range.
_NARROW = {"observations": 0.02, "actions": 0.02, "rewards": 0.002}
_FEW_BITS = 12
# Constants as large as this may have varied by less than float32 tells apart.
_LARGE = 1e6
_LISTED = 5


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something odd.

    Attributes:
      severity: :data:`WARNING` or :data:`NOTE`.
      text: what was found, with numbers.
      advice: what to do.
    """

    severity: str
    text: str
    advice: str

    def __str__(self):
        return f"{self.text} {self.advice}"


def findings_of(facts: Facts) -> Iterator[Finding]:
    """All findings that cost little."""
    yield from _values(facts)
    yield from _action_bounds(facts)
    yield from _constants(facts)
    yield from _endings(facts)
    yield from _time_limit(facts)


def _values(facts: Facts) -> Iterator[Finding]:
    for field, count in facts.non_finite.items():
        if count:
            yield Finding(
                WARNING,
                f"NaN or infinite values in {field}: {count}.",
                "Trainings refuse such data.",
            )
    for field, columns in facts.columns.items():
        yield from _overflow(field, columns)
        yield from _precision(field, columns)
        yield from _outliers(field, columns)
    most = facts.returns and max(abs(facts.returns.minimum), abs(facts.returns.maximum))
    if most and most > LARGEST_ROOT:
        yield Finding(
            WARNING,
            f"Returns reach {most:.3g}: they, or their squares, overflow in float32.",
            "Scale the rewards down.",
        )


def _overflow(field: str, columns: tuple[Column, ...]) -> Iterator[Finding]:
    found = {
        i: c for i, c in enumerate(columns) if LARGEST_ROOT < c.size < float("inf")
    }
    if not found:
        return
    worst = max(found.values(), key=lambda column: column.size)
    yield Finding(
        WARNING,
        f"{_dimensions(field, found)} reach {worst.size:.3g}: squares of such values, "
        "and sums of them, overflow in float32.",
        "Correct or scale them.",
    )


def _precision(field: str, columns: tuple[Column, ...]) -> Iterator[Finding]:
    found = {
        i: column
        for i, column in enumerate(columns)
        if column.low <= column.high
        and (
            column.size >= _LARGE
            if column.is_constant
            else column.stored_bits < _FEW_BITS
        )
    }
    if not found:
        return
    first = next(iter(found.values()))
    lost = 24 - int(first.stored_bits)
    yield Finding(
        WARNING,
        f"{_dimensions(field, found)} span {first.high - first.low:.3g} at "
        f"{first.size:.6g}, where float32's numbers are {first.step:.3g} apart: {lost} "
        "of its 24 bits are lost, whatever the normaliser.",
        "Subtract an offset before the data are written, such as the first time stamp, "
        "or leave them out.",
    )


def _outliers(field: str, columns: tuple[Column, ...]) -> Iterator[Finding]:
    found = {
        i: column
        for i, column in enumerate(columns)
        if 0.0 < column.core_share < 1.0
        and 0.0 < column.width < _NARROW[field]
        and not column.is_constant
    }
    if not found:
        return
    worst = min(found.values(), key=lambda column: column.width)
    lost = 24 - int(worst.normalized_bits)
    advice = "Correct or leave out the others"
    if field != "rewards":
        name = field.removesuffix("s")
        advice += f", or clip them with config.dataset.{name}_normalizer=robust"
    yield Finding(
        WARNING,
        f"{_dimensions(field, found)} have outliers: {worst.held:.0%} of them lie "
        f"within {100 * worst.core_share:.2g}% of the range ({worst.core_low:.3g} to "
        f"{worst.core_high:.3g}, of {worst.low:.3g} to {worst.high:.3g}), and within "
        f"{worst.width:.2g} once normalised: {lost} of float32's 24 bits are lost.",
        f"{advice}.",
    )


def _dimensions(field: str, found: Mapping[int, object]) -> str:
    """Such as ``Observation dimensions 0, 3 and 2 more``, or ``Rewards``."""
    if field == "rewards":
        return "Rewards"
    numbers, more = list(map(str, found))[:_LISTED], len(found) - _LISTED
    plural = "s" if len(found) > 1 else ""
    listed = ", ".join(numbers) + (f" and {more} more" if more > 0 else "")
    return f"Values of {field.removesuffix('s')} dimension{plural} {listed}"


def _action_bounds(facts: Facts) -> Iterator[Finding]:
    actions = facts.actions
    if facts.whole_actions and facts.columns["actions"] and _beyond_one(facts):
        yield Finding(
            WARNING,
            "Every action value is a whole number.",
            "Discrete actions, numbered, cannot be planned: encode them as vectors "
            "(docs/extending.md).",
        )
    if actions.outside:
        advice = (
            "Check the scale of the actions: the environment clips or refuses them."
        )
        if facts.assumed_bounds:
            advice = (
                "The bounds -1 and 1 are a guess, as no environment is known: name one "
                "by config.environment.id."
            )
        yield Finding(
            WARNING,
            f"Action values outside their bounds: {actions.outside} "
            f"({100 * actions.outside_share:.2g}%), by {actions.worst:.3g} at worst "
            f"(transition {actions.worst_transition}, "
            f"dimension {actions.worst_dimension}).",
            advice,
        )
    if actions.saturated_share > _MANY_SATURATED:
        yield Finding(
            NOTE,
            f"{actions.saturated_share:.0%} of the action values lie at a bound.",
            "Were they clipped, or are the bounds wrong?",
        )


def _beyond_one(facts: Facts) -> bool:
    """Actions of -1, 0 and 1 may be those of a controller that always pushes fully."""
    return any(1.0 < column.size < float("inf") for column in facts.columns["actions"])


def _constants(facts: Facts) -> Iterator[Finding]:
    if facts.num_transitions == 1:
        return
    constant = facts.constant_observations
    if len(constant) == facts.observation_dim:
        yield Finding(
            WARNING,
            "Every observation is the same.",
            "Plans can depend on nothing: check what was recorded.",
        )
    elif constant:
        yield Finding(
            WARNING,
            f"{_dimensions('observations', constant)} are constant.",
            "Planners ignore them: record more if the environment varies them, as it "
            "does a goal.",
        )
    for dimension, value in facts.constant_actions.items():
        yield Finding(
            WARNING,
            f"Action dimension {dimension} is always {value:g}.",
            "Plans will always have that value: record more if it should vary.",
        )
    rewards = facts.rewards
    if rewards and rewards.minimum == rewards.maximum:
        yield Finding(
            WARNING,
            f"Every reward is {rewards.minimum:g}.",
            "Nothing is learned from rewards that do not differ: set "
            "config.student.reward_weight=0 and config.dataset.weighting=uniform, or "
            "write the true rewards.",
        )


def _endings(facts: Facts) -> Iterator[Finding]:
    ends = facts.endings
    if ends.both:
        yield Finding(
            NOTE,
            f"Episodes that end by a terminal and a timeout at once: {ends.both}.",
            "They count as terminals.",
        )
    if ends.early:
        yield Finding(
            WARNING,
            f"Endings flagged before the last step of an episode: {ends.early}.",
            "Check the flags.",
        )
    if facts.num_episodes == 1 and ends.neither:
        yield Finding(
            WARNING,
            "No step is a terminal or a timeout: the data is one episode of "
            f"{facts.num_transitions} steps.",
            "Flag the last steps of episodes as timeouts: windows go across resets "
            "otherwise.",
        )
    if facts.num_episodes == facts.num_transitions > 1:
        by_terminal = ends.terminal + ends.both == facts.num_episodes
        yield Finding(
            WARNING,
            f"Every step {'is a terminal' if by_terminal else 'ends an episode'}.",
            "Plans of several steps repeat one action: check terminals and timeouts, "
            "unless each episode is one decision.",
        )
    elif facts.one_step:
        yield Finding(
            NOTE,
            f"Episodes of one step: {facts.one_step}.",
            "Check their flags, if they are many.",
        )


def _time_limit(facts: Facts) -> Iterator[Finding]:
    lengths, ends = facts.lengths, facts.endings
    same = facts.num_episodes > 2 and lengths.minimum == lengths.maximum > 1
    if same and ends.timeout + ends.both == 0:
        yield Finding(
            WARNING,
            f"Every episode has {lengths.maximum:.0f} steps and none ends by a "
            "timeout: is a time limit flagged as a terminal?",
            "Flag it as a timeout: values are 0 after a terminal.",
        )
    if facts.beyond_limit:
        yield Finding(
            WARNING,
            f"Episodes longer than the usual limit of {facts.limit} steps: "
            f"{facts.beyond_limit} (the longest has {lengths.maximum:.0f}).",
            "Are timeouts missing? Flag them: windows go across resets otherwise.",
        )
