"""Stage 3: distils the teacher into a one-step student, towards high returns.

  python -m experiments.train_student --config=configs/hopper_medium_expert.py \
      --teacher=runs/teacher --reward=runs/reward --workdir=runs/student

With --config.student.reward_weight=0 no reward model is needed (CTD).
"""

from absl import flags

from experiments import launch

FLAGS = flags.FLAGS


def main():
    launch.train_stage("student", FLAGS.teacher, FLAGS.reward)


if __name__ == "__main__":
    launch.define_config_flags()
    launch.define_training_flags()
    flags.DEFINE_string("teacher", None, "Workdir of train_teacher.", required=True)
    flags.DEFINE_string("reward", None, "Workdir of train_reward.")
    launch.run(main)
