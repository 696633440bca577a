"""Hopper-v5, medium, on a dataset made on this machine.

  python -m experiments.pipeline --config=configs/hopper_medium.py \\
      --workdir=runs/medium
"""

from configs import base

# sigma_r of the thesis (table B.4) and of the released code.
REWARD_WEIGHTS = {"paper": 3.0, "released": 1.0}


def get_config(preset: str = "cpu"):
    config = base.get_preset(preset)
    config.task = "hopper-medium"
    config.dataset.id = "ractd/hopper/medium-v0"
    if preset in REWARD_WEIGHTS:
        config.student.reward_weight = REWARD_WEIGHTS[preset]
    return config.lock()
