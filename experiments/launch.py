"""What the mains share: the flags, the settings, and how errors are shown."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from logging import WARNING

from absl import app, flags, logging
from ml_collections import config_flags

from ractd_jax.compilation_cache import use_compilation_cache
from ractd_jax.errors import RactdError
from ractd_jax.settings import Settings, from_mapping
from ractd_jax.training.interruption import Interrupted

FLAGS = flags.FLAGS


def define_config_flags(required: Sequence[str] = ("config", "workdir")) -> None:
    """``--config`` with ``--config.x.y=`` overrides, and ``--workdir``.

    Args:
      required: which of the two must be given.
    """
    config_flags.DEFINE_config_file(
        "config",
        None,
        "Config file with an optional preset, such as "
        "configs/hopper_medium_expert.py:smoke.",
        lock_config=True,
    )
    flags.DEFINE_string("workdir", None, "Folder for checkpoints and logs.")
    flags.DEFINE_bool(
        "allow_config_change",
        False,
        "Goes on in a workdir that holds a training with another config or other data.",
    )
    flags.mark_flags_as_required(required)


def settings_from_flags() -> Settings:
    return from_mapping(FLAGS.config.to_dict())


def _ours(record) -> bool:
    """Drops what libraries report of their own start-up below a warning."""
    library = "site-packages" in record.pathname
    return not library or record.levelno >= WARNING


def run(main) -> None:
    """absl's app.run, with bad input shown as one line instead of a traceback.

    A training that a signal stopped has saved where it was: that is no failure.
    """

    def guarded(argv):
        if len(argv) > 1:
            sys.exit(f"error: unexpected argument '{argv[1]}': flags start with --")
        logging.set_verbosity(logging.INFO)
        logging.get_absl_handler().addFilter(_ours)
        use_compilation_cache()
        try:
            main()
        except Interrupted as interrupted:
            print(interrupted, file=sys.stderr)
        except (RactdError, FloatingPointError, ValueError) as error:
            logging.debug("traceback", exc_info=True)
            sys.exit(f"error: {error}")

    app.run(guarded)
