"""Trains one stage: any method of ``ractd_jax/methods``, by its name.

  python -m experiments.train --stage=bc --config=configs/hopper_medium_replay.py \
      --config.dataset.weighting=top --workdir=runs/bc

Stages:
  teacher: the EDM teacher (also experiments.train_teacher).
  reward: the reward models (also experiments.train_reward).
  student: the one-step student, with --teacher and, unless
    --config.student.reward_weight=0, with --reward (also experiments.train_student).
  critic: values by temporal differences, IQL's or SARSA's; they go where reward models
    go.
  steering: a network that moves the noise of the student in --start, by --reward.
  td3_bc: TD3+BC, a baseline.
  ddpm: a DDPM model on the teacher's plans. Its planner takes --num_steps network
    evaluations: all of config.ddpm.num_timesteps by ancestral sampling, fewer by DDIM.
  bc: behaviour cloning. With config.dataset.weighting=top it learns from the best
    episodes only (percentile behaviour cloning), with uniform from all.
  discrete_bc, cql: cloning by cross-entropy and conservative Q-learning, baselines for
    discrete actions.
  inverse_dynamics: the actions between the states of a plan.
"""

from absl import flags

from ractd_jax.mains import launch

FLAGS = flags.FLAGS


def main():
    launch.train_stage(FLAGS.stage)


def run() -> None:
    """Defines the flags and runs :func:`main`."""
    launch.define_stage_flags()
    flags.DEFINE_enum("stage", None, launch.STAGES, "What is trained.", required=True)
    launch.run(main)
