"""Hopper-v5, medium-expert, on a dataset made on this machine.

  python -m experiments.pipeline --config=configs/hopper_medium_expert.py \\
      --workdir=runs/medium-expert
"""

from configs import base

# sigma_r of the thesis (table B.4) and of the released code.
REWARD_WEIGHTS = {"paper": 0.0, "released": 0.5}


def get_config(preset: str = "cpu"):
    config = base.get_preset(preset)
    config.task = "hopper-medium-expert"
    config.dataset.id = "ractd/hopper/medium-expert-v0"
    if preset in REWARD_WEIGHTS:
        config.student.reward_weight = REWARD_WEIGHTS[preset]
    return config.lock()
