"""Writes manifests for checkpoints that were made before there were any.

  python -m experiments.seal_checkpoint --checkpoint=runs/teacher

A checkpoint without a manifest of its files' digests is not loaded. This vouches for
what is there now, which may not be what was saved: look at what it plans.
"""

from absl import flags, logging

from experiments import launch
from ractd_jax.storage.checkpoint import seal

FLAGS = flags.FLAGS


def main():
    sealed = seal(FLAGS.checkpoint)
    if sealed:
        logging.info(
            "%s: manifests for steps %s, of their files as they are now",
            FLAGS.checkpoint,
            sealed,
        )
    else:
        logging.info("%s: every checkpoint has its manifest", FLAGS.checkpoint)


if __name__ == "__main__":
    flags.DEFINE_string("checkpoint", None, "Workdir of a training.", required=True)
    launch.run(main)
