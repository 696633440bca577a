"""On-policy learning with discrete actions, for behaviour policies and baselines."""
