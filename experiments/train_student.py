"""Stage 3: distils the teacher into a one-step student, towards high returns.

  python -m experiments.train_student --config=configs/hopper_medium_expert.py \
      --teacher=runs/teacher --reward=runs/reward --workdir=runs/student

With --config.student.reward_weight=0 no reward model is needed (CTD).
"""

from absl import flags

from experiments import launch
from ractd_jax.data.sources import load_resolved
from ractd_jax.training.loop import train
from ractd_jax.training.stages import student_stage

FLAGS = flags.FLAGS


def main():
    settings, dataset = load_resolved(launch.settings_from_flags())
    stage = student_stage(settings, dataset, FLAGS.teacher, FLAGS.reward)
    train(
        stage,
        settings.run,
        settings.seed,
        FLAGS.workdir,
        FLAGS.allow_config_change,
    )


if __name__ == "__main__":
    launch.define_config_flags()
    launch.define_training_flags()
    flags.DEFINE_string("teacher", None, "Workdir of train_teacher.", required=True)
    flags.DEFINE_string("reward", None, "Workdir of train_reward.")
    launch.run(main)
