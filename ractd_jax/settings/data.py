"""Sections about the environment, the dataset and the plans that are learned."""

from __future__ import annotations

from ractd_jax.errors import ConfigError
from ractd_jax.settings.options import option, section, seed_option


@section
class Environment:
    """The environment that planners are evaluated in, and its scale of scores."""

    id: str = option(
        "",
        "Gymnasium id to evaluate in; empty takes the one that the dataset names, none "
        "takes no environment.",
    )
    spec: str = option(
        "",
        "EnvSpec as JSON, filled in where a dataset's environment has options of its "
        "own.",
    )
    flatten: str = option(
        "auto",
        "How Dict observations become vectors.",
        choices=("auto", "observation", "all", "maze", "maze_goal"),
    )
    score_min: float | None = option(
        None,
        "True return that scores 0; None, for score_max too, takes the dataset's "
        "reference returns, else D4RL's, else scores are raw returns.",
    )
    score_max: float | None = option(None, "True return that scores 100.")
    score_source: str = option(
        "", "Where score_min and score_max come from, filled in by the program."
    )
    max_episode_steps: int | None = option(
        None,
        "Steps after which an episode is cut off; None takes the environment's own "
        "limit, and where it has none the length of the longest recorded episode.",
        positive=True,
    )

    def __post_init__(self):
        low, high = self.score_min, self.score_max
        if (low is None) != (high is None) or (low is not None and high <= low):
            raise ConfigError(
                "config.environment.score_max: expected more than "
                f"config.environment.score_min = {low}, or None for both, found {high}"
            )


@section
class Dataset:
    """The recorded episodes, and which of their windows are learned from."""

    source: str = option(
        "minari",
        "Where the data comes from: a Minari id (minari), or a file or folder of D4RL "
        "(d4rl), OGBench (ogbench), robomimic (robomimic), d3rlpy (d3rlpy) or LeRobot "
        "(lerobot), or of a reader that the program has registered.",
    )
    id: str = option(
        "", "Minari id, or several separated by commas, when source is minari."
    )
    root: str = option(
        "",
        "Folder of Minari datasets; empty takes Minari's own default.",
        is_path=True,
    )
    download: bool = option(
        True, "Whether to download a Minari dataset that is not in the root."
    )
    path: str = option(
        "", "File, or folder of lerobot, when source is not minari.", is_path=True
    )
    observation_keys: str = option(
        "",
        "Parts of an observation, separated by commas, in their order, when source is "
        "robomimic or lerobot; empty takes all that are no images, in alphabetical "
        "order, and the program fills them in.",
    )
    filter_key: str = option(
        "",
        "Filter key of a robomimic file, such as train, whose demonstrations are read; "
        "empty reads all.",
    )
    max_episode_steps: int | None = option(
        None,
        "Time limit of an episode for D4RL files without timeouts; None takes the "
        "limit of the environment that the file's name says.",
        positive=True,
    )
    weighting: str = option(
        "uniform",
        "Which windows plans are learned from: all alike (uniform), those of the "
        "episodes with the highest returns (top), more often those whose action "
        "returned more than is usual in its state (advantage), or advantage within "
        "top (both).",
        choices=("uniform", "top", "advantage", "both"),
    )
    top_fraction: float = option(
        0.3,
        "Share of the transitions that top keeps.",
        positive=True,
        minimum=0.0,
        maximum=1.0,
    )
    advantage_beta: float = option(
        2.0,
        "beta of advantage: windows are drawn with p ~ exp(beta A / std A).",
        positive=True,
    )
    advantage_clip: float = option(
        20.0,
        "Largest p of advantage, relative to that of a window with A = 0.",
        positive=True,
    )
    advantage_discount: float = option(
        0.99,
        "gamma of the returns-to-go that the advantage A is computed from.",
        minimum=0.0,
        maximum=1.0,
    )
    critic: str = option(
        "",
        "Workdir of a critic (--stage=critic); advantage and both take its advantages "
        "in place of the return-to-go's.",
        is_path=True,
    )
    observation_normalizer: str = option(
        "minmax",
        "How observations are normalised: to [-1, 1] (minmax, as Duan et al., 2025), "
        "to mean 0 and standard deviation 1, clipped (zscore), or to [-1, 1] with "
        "outliers clipped, by quantiles (robust).",
        choices=("minmax", "zscore", "robust"),
    )
    action_normalizer: str = option(
        "minmax",
        "How actions are normalised: to [-1, 1] (minmax), or so with outliers clipped, "
        "by quantiles (robust).",
        choices=("minmax", "robust"),
    )
    held_out_combinations: int = option(
        0,
        "In mazes, leaves out the windows between every n-th pair of a start's and a "
        "goal's region (2 x 2 cells), and of the others those through every n-th "
        "middle, to test combinations that were never seen; 0 leaves out none. Plans "
        "are trained without them, reward models and critics are not.",
        minimum=0,
    )
    streaming: bool = option(
        False,
        "Whether to draw batches on the host (grain), for data larger than the "
        "device's memory.",
    )
    num_transitions: int = option(
        1_000_000,
        "Transitions that experiments.generate_dataset and the pipeline record.",
        positive=True,
    )
    seed: int = seed_option(0, "Seed of the recording.")
    demonstrations: str = option(
        "",
        "D4RL's file of kitchen-complete, whose segments the recordings of kitchen "
        "tasks are made of.",
        is_path=True,
    )


@section
class Plan:
    """What a plan holds, what conditions it, and how much of it is executed."""

    horizon: int = option(16, "H, steps that a plan covers.", positive=True)
    stride: int = option(
        1, "Environment steps between two states of a plan of states.", positive=True
    )
    history: int = option(
        1, "h, number of latest observations that condition a plan.", positive=True
    )
    return_condition: bool = option(
        False,
        "Whether a plan of actions is also conditioned on the rank of its episode's "
        "return, from -1 for the lowest to 1 for the highest; planners ask for "
        "evaluation.target_rank.",
    )
    execute: int = option(
        1, "Actions of a plan that are executed before the next plan.", positive=True
    )
    executed_weight: float = option(
        1.0,
        "Weight of the executed actions in the losses on plans, relative to the other "
        "numbers of a plan.",
        positive=True,
    )
    padding: str = option(
        "repeat_last",
        "What happens at an episode's end: the last step is repeated (repeat_last), or "
        "windows that reach past it are dropped (drop, as in Duan et al.'s code).",
        choices=("repeat_last", "drop"),
    )
    kind: str = option(
        "actions",
        "What a plan holds: actions, from the latest observations on; states, from the "
        "current one on, to a goal if they have one; or both, first the current state "
        "and its action (joint).",
        choices=("actions", "states", "joint"),
    )
    conditioning: str = option(
        "film",
        "How start and goal condition a plan with states: through the FiLM layers "
        "(film, as in Duan et al.'s code), by clamping the plan's first state and, "
        "with a goal, its last (ends, as Janner et al., 2022, do), or both.",
        choices=("film", "ends", "both"),
    )
    goal: str = option(
        "arrival",
        "Goal that a plan of states is trained for: a state at a random lag within the "
        "plan, which then stays in it (arrival), or the plan's last state (last).",
        choices=("arrival", "last"),
    )
    split_at_goals: bool = option(
        False,
        "Whether windows stop where the data's own goal changes, so that a plan of "
        "states leads to one goal only; needs data with goals.",
    )
    goal_size: int = option(
        2,
        "Leading components of a state that a goal names: the position. With 0, plans "
        "of states have no goal: they start where the environment is, and what rates "
        "them says where to go.",
        minimum=0,
    )
    relative: bool = option(
        False,
        "Whether a plan of states without a goal holds changes from its start, each "
        "step in units of its usual size, so that near states are as precise as far "
        "ones.",
    )
    elements: str = option(
        "none",
        "Elements of the scene that condition a plan: none, waypoints that cut a plan "
        "of states' way to its goal into equal parts, or the kinds of what an "
        "observation shows, where the environment family knows them (observed).",
        choices=("none", "waypoints", "observed"),
    )
    num_waypoints: int = option(3, "Waypoints of a plan.", positive=True)
    elements_dropout: float = option(
        0.1,
        "Probability of leaving a plan's elements out while a teacher or DDPM model "
        "trains, for classifier-free guidance.",
        minimum=0.0,
        below=1.0,
    )
