"""Every setting of a run, as frozen dataclasses: the one list of fields.

`configs/` turns these into ml_collections ConfigDicts and holds the presets;
:func:`from_mapping` turns a ConfigDict (or what a checkpoint stored) back, strictly:
an unknown key or a value of another type raises and names the field. A field's
sentence, choices and range stand with it. ``help(ractd_jax.settings.Student)`` shows
those of a section, and ``python -m ractd_jax.settings`` writes docs/settings.md.
"""

from ractd_jax.settings.data import Dataset, Environment, Plan
from ractd_jax.settings.models import Diffusion, Network, Optimizer
from ractd_jax.settings.running import Controller, Evaluation, Run
from ractd_jax.settings.student import Student
from ractd_jax.settings.trainings import (
    BehaviourCloning,
    Cql,
    Critic,
    Ddpm,
    DiscreteCloning,
    InverseDynamics,
    Reward,
    Steering,
    Td3Bc,
    Teacher,
)
from ractd_jax.settings.tree import (
    Settings,
    differences,
    from_mapping,
    is_optional,
    to_dict,
    with_absolute_paths,
)

__all__ = [
    "BehaviourCloning",
    "Controller",
    "Cql",
    "Critic",
    "Dataset",
    "Ddpm",
    "Diffusion",
    "DiscreteCloning",
    "Environment",
    "Evaluation",
    "InverseDynamics",
    "Network",
    "Optimizer",
    "Plan",
    "Reward",
    "Run",
    "Settings",
    "Steering",
    "Student",
    "Td3Bc",
    "Teacher",
    "differences",
    "from_mapping",
    "is_optional",
    "to_dict",
    "with_absolute_paths",
]
