"""Hopper-v5, medium-replay, on a dataset made on this machine.

  python -m experiments.pipeline --config=configs/hopper_medium_replay.py \\
      --workdir=runs/medium-replay
"""

from configs import base

# sigma_r of the thesis (table B.4) and of the released code.
REWARD_WEIGHTS = {"paper": 1.0, "released": 1.0}


def get_config(preset: str = "cpu"):
    config = base.get_preset(preset)
    config.task = "hopper-medium-replay"
    config.dataset.id = "ractd/hopper/medium-replay-v0"
    if preset in REWARD_WEIGHTS:
        config.student.reward_weight = REWARD_WEIGHTS[preset]
    return config.lock()
