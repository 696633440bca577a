from configs import base


def get_config(preset: str = "cpu"):
    config = base.get_preset(preset)
    config.task = "any-dataset"
    config.plan.kind = "states"
    config.reward.target = "goal_return"
    return config.lock()
