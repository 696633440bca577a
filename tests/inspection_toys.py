"""Clean episodes, and faults to put into them."""

import dataclasses

import numpy as np
from hypothesis import strategies as st

from ractd_jax.data.episodes import Episodes
from ractd_jax.inspection import checks as checks
from ractd_jax.inspection.episodes import inspect_episodes

HORIZON = 8

# Steps of each episode, and the flags of its last step.
structures = st.lists(
    st.tuples(st.integers(1, 12), st.booleans(), st.booleans()), min_size=1, max_size=8
)


def make_episodes(structure, seed: int = 0) -> Episodes:
    """Smooth made-up episodes; `structure` lists (steps, terminal, timeout)."""
    rng = np.random.default_rng(seed)
    lengths = [steps for steps, _, _ in structure]
    total = sum(lengths)
    starts = np.cumsum([0, *lengths]).astype(np.int32)
    terminals, timeouts = np.zeros((2, total), bool)
    terminals[starts[1:] - 1] = [terminal for _, terminal, _ in structure]
    timeouts[starts[1:] - 1] = [timeout for _, _, timeout in structure]
    walk = np.cumsum(rng.normal(size=(total, 4)), axis=0)
    # Each episode starts somewhere else, as after a reset.
    walk += np.repeat(rng.normal(0, 1000, (len(lengths), 4)), lengths, axis=0)
    return Episodes(
        observations=walk.astype(np.float32),
        actions=rng.uniform(-1, 1, (total, 3)).astype(np.float32),
        rewards=rng.normal(1, 0.1, total).astype(np.float32),
        terminals=terminals,
        timeouts=timeouts,
        starts=starts,
    )


# Ten falls of different lengths, five timeouts, and a rest that was cut off.
CLEAN = [(20 + 3 * i, True, False) for i in range(10)] + [(60, False, True)] * 5
CLEAN += [(17, False, False)]


def edit(episodes: Episodes, **changes) -> Episodes:
    """`episodes` with entries set: field -> [(index, value), ...]."""
    arrays = {}
    for field, entries in changes.items():
        arrays[field] = getattr(episodes, field).copy()
        for index, value in entries:
            arrays[field][index] = value
    return dataclasses.replace(episodes, **arrays)


def look(episodes: Episodes, **options):
    return inspect_episodes(episodes, options.pop("horizon", HORIZON), **options)


def repeated(structure_index: int, count: int) -> Episodes:
    """CLEAN data with one episode appended `count` times."""
    clean = make_episodes(CLEAN)
    start, stop = clean.starts[structure_index : structure_index + 2]
    fields = ("observations", "actions", "rewards", "terminals", "timeouts")
    arrays = {}
    for name in fields:
        whole = getattr(clean, name)
        arrays[name] = np.concatenate([whole, *[whole[start:stop]] * count])
    more = clean.starts[-1] + (stop - start) * np.arange(1, count + 1)
    return Episodes(**arrays, starts=np.append(clean.starts, more).astype(np.int32))


def without_endings(structure, kept: int = 0) -> Episodes:
    """Data whose endings were lost, but for the last `kept`."""
    whole = make_episodes(structure)
    starts = np.append(0, whole.starts[len(structure) - kept :]).astype(np.int32)
    none = [(slice(0, starts[1] - 1), False)]
    lost = edit(whole, terminals=none, timeouts=none)
    return dataclasses.replace(lost, starts=starts)


def clean(**changes) -> Episodes:
    return edit(make_episodes(CLEAN), **changes)


EVERYTHING = slice(None)
FAULTS = {
    "nan": (clean(observations=[((3, 1), np.nan)]), "in observations: 1."),
    "infinite reward": (clean(rewards=[(5, np.inf)]), "infinite values in rewards: 1."),
    "outside": (
        clean(actions=[((4, 1), 1.5), ((9, 2), -3.0)]),
        "outside their bounds: 2 (0.1%), by 2 at worst (transition 9, dimension 2)",
    ),
    "saturated": (
        clean(actions=[(slice(0, -20), 1.0)]),
        "of the action values lie at a bound",
    ),
    "constant action": (
        clean(actions=[((EVERYTHING, 2), 0.25)]),
        "Action dimension 2 is always 0.25.",
    ),
    "constant observations": (
        clean(observations=[(EVERYTHING, 7.0)]),
        "Every observation is the same.",
    ),
    "constant reward": (clean(rewards=[(EVERYTHING, 0.5)]), "Every reward is 0.5."),
    "both": (clean(timeouts=[(19, True)]), "terminal and a timeout at once: 1."),
    "early": (clean(terminals=[(7, True)]), "before the last step of an episode: 1."),
    "one step": (
        make_episodes([*CLEAN, (1, True, False)]),
        "Episodes of one step: 1.",
    ),
    "one giant": (
        make_episodes([(300, False, False)]),
        "No step is a terminal or a timeout: the data is one episode of 300 steps.",
    ),
    "same length": (
        make_episodes([(50, True, False)] * 4),
        "Every episode has 50 steps and none ends by a timeout",
    ),
    "beyond the guessed limit": (
        make_episodes([*CLEAN, (61, True, False)]),
        "longer than the usual limit of 60 steps: 1 (the longest has 61).",
    ),
    "duplicates": (
        repeated(3, 2),
        "repeat an earlier one: 2 (episode 16 is episode 3 again).",
    ),
    "missing endings": (
        without_endings([(300 + i, True, False) for i in range(10)], kept=4),
        "over 6 times as much as 99% of the steps do: 5 (the first from transition 299",
    ),
}
