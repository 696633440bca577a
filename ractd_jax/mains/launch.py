"""What the mains share: the flags, the settings, and how errors are shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from logging import WARNING
from pathlib import Path

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from ractd_jax.compilation_cache import use_compilation_cache
from ractd_jax.errors import ConfigError, RactdError
from ractd_jax.mains import flag_kinds
from ractd_jax.mains.flag_kinds import one_line, parse_flags
from ractd_jax.settings import Settings, from_mapping
from ractd_jax.settings.options import described_tree
from ractd_jax.training.interruption import Interrupted

FLAGS = flags.FLAGS

STAGES = (
    "teacher",
    "ddpm",
    "bc",
    "reward",
    "critic",
    "student",
    "steering",
    "td3_bc",
    "discrete_bc",
    "cql",
    "inverse_dynamics",
)

_PACKAGE = str(Path(__file__).parents[1])
# What --teacher, --reward and --start name.
_MODELS = {
    "teacher": "a teacher",
    "reward": "reward models or of a critic",
    "start": "a student",
}
# stage: (flags that it needs, flags that it may have).
_BUILDS_ON = {
    "student": (("teacher",), ("reward", "start")),
    "steering": (("reward", "start"), ()),
}

# The others of a job are told within a minute that a process died.
_HEARTBEAT_SECONDS = 20
_JOIN_SECONDS = 300
# Process 0 may evaluate for hours after the others are done.
_DAY_SECONDS = 86_400
_FUSIONS = "--xla_cpu_experimental_ynn_fusion_type"


def define_config_flags(required: Sequence[str] = ("config", "workdir")) -> None:
    """``--config`` with ``--config.x.y=`` overrides, and ``--workdir``.

    Args:
      required: which of the two must be given.
    """
    fields = (f"--{name}: {text}" for name, text in described_tree(Settings()))
    config_flags.DEFINE_config_file(
        "config",
        None,
        "Config file with an optional preset, such as "
        "configs/hopper_medium_expert.py:smoke. --config.SECTION.FIELD=VALUE sets one "
        "of its fields:\n" + "\n".join(fields),
        lock_config=True,
    )
    flag_kinds.define_path("workdir", None, "Folder for checkpoints and logs.")
    flags.mark_flags_as_required(required)


def define_training_flags() -> None:
    """``--allow_config_change``, ``--distributed`` and ``--deterministic``."""
    flags.DEFINE_bool(
        "allow_config_change",
        False,
        "Goes on in a workdir that holds a training with another config or other data.",
    )
    flags.DEFINE_bool(
        "deterministic",
        False,
        "On GPUs: only kernels that give the same bits in every run, at some speed. "
        "On CPUs and TPUs they always do.",
    )
    flags.DEFINE_bool(
        "distributed",
        False,
        "Train with every process of the job: found by jax.distributed on SLURM and "
        "TPU pods, else said by the three flags below.",
    )
    flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0.")
    flags.DEFINE_integer("num_processes", None, "Of the job.", lower_bound=1)
    flags.DEFINE_integer("process_index", None, "0 for the first.", lower_bound=0)


def _add_xla_flag(flag: str) -> None:
    """XLA reads its flags when a device is first asked for."""
    given = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{given} {flag}".strip()


def use_fast_cpu_kernels(settings: Settings) -> None:
    """Turns XLA's fusions for YNNPACK off for an MLP, unless the user chose some.

    A U-Net is slower without them. Only with the version that it was measured with
    (docs/performance.md): XLA ends a process that names a flag it does not know, and
    flags come and go.
    """
    gains = settings.network.kind == "mlp" and jax.lib.__version__.startswith("0.10.")
    if gains and _FUSIONS not in os.environ.get("XLA_FLAGS", ""):
        _add_xla_flag(f"{_FUSIONS}=")


def _join_processes() -> None:
    """Raises ConfigError when the flags do not say who the processes are."""
    names = ("coordinator", "num_processes", "process_index")
    values = [FLAGS[name].value for name in names]
    given = [name for name in names if FLAGS[name].value is not None]
    if given and not FLAGS.distributed:
        raise ConfigError(f"--{given[0]}: expected --distributed with it, found none")
    if not FLAGS.distributed:
        return
    if len(given) not in (0, 3):
        missing = next(name for name in names if name not in given)
        raise ConfigError(f"--{missing}: expected with --{given[0]}, found none")
    if given and FLAGS.process_index >= FLAGS.num_processes:
        raise ConfigError(
            f"--process_index: expected less than --num_processes = "
            f"{FLAGS.num_processes}, found {FLAGS.process_index}"
        )
    try:
        jax.distributed.initialize(
            *values,
            initialization_timeout=_JOIN_SECONDS,
            heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=_DAY_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            "--distributed: expected --coordinator, --num_processes and "
            "--process_index, or SLURM or a TPU pod with all processes started, found "
            f"{str(error).splitlines()[0]}"
        ) from None
    logging.info(
        "process %d of %d, %d of %d devices",
        jax.process_index(),
        jax.process_count(),
        jax.local_device_count(),
        jax.device_count(),
    )


def settings_from_flags() -> Settings:
    """Those of ``--config``; chooses XLA's kernels for them.

    So it is called before a device is asked for, see :func:`use_fast_cpu_kernels`.

    Raises:
      ConfigError: they do not load.
    """
    try:
        config = FLAGS.config.to_dict()
    # Whatever a config file raises comes when it is first asked for a field.
    except Exception as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ConfigError(f"--config: expected a config file, found {reason}") from None
    settings = from_mapping(config)
    use_fast_cpu_kernels(settings)
    return settings


def _ours(record) -> bool:
    """Drops what libraries report of their own start-up below a warning."""
    # The package itself may be installed among them.
    ours = record.pathname.startswith(_PACKAGE)
    library = "site-packages" in record.pathname and not ours
    return not library or record.levelno >= WARNING


def define_stage_flags() -> None:
    """Those of :func:`train_stage`: of the config, the training and its models."""
    define_config_flags()
    define_training_flags()
    define_model_flags()


def define_model_flags() -> None:
    """``--teacher``, ``--reward`` and ``--start``, what a student builds on."""
    flag_kinds.define_path("teacher", None, "Of a student: workdir of the teacher.")
    flag_kinds.define_path(
        "reward",
        None,
        "Of a student and of steering: workdir of the reward models or of a critic.",
    )
    flag_kinds.define_path(
        "start",
        None,
        "Of a student: workdir of one to start from; of steering: of the one to steer.",
    )


def train_stage(name: str) -> None:
    """Trains one of :data:`STAGES` as the flags say.

    Raises:
      ConfigError: a flag that the stage needs is missing, or belongs to another stage.
    """
    from ractd_jax.data.sources import load_resolved
    from ractd_jax.training.loop import train

    check_model_flags(name)
    settings, dataset = load_resolved(settings_from_flags())
    stage = make_stage(name, settings, dataset)
    arguments = settings.run, settings.seed, FLAGS.workdir, FLAGS.allow_config_change
    train(stage, *arguments)


def make_stage(name: str, settings: Settings, dataset):
    """One of :data:`STAGES`; a student of the models that the flags name."""
    from ractd_jax.training import stages

    if name == "steering":
        return stages.steering_stage(settings, dataset, FLAGS.start, FLAGS.reward)
    if name == "student":
        found = FLAGS.teacher, FLAGS.reward, FLAGS.start
        return stages.student_stage(settings, dataset, *found)
    return stages.make_stage(name, settings, dataset)


def check_model_flags(stage: str) -> None:
    """Raises ConfigError when the models that the flags name do not fit the stage."""
    required, optional = _BUILDS_ON.get(stage, ((), ()))
    for name, what in _MODELS.items():
        value = FLAGS[name].value
        if name in required and not value:
            raise ConfigError(
                f"--{name}: expected the workdir of {what} for stage {stage!r}, found "
                "none"
            )
        if value is not None and name not in required + optional:
            raise ConfigError(
                f"--{name}: expected none for stage {stage!r}, which builds on no such "
                f"model, found {value!r}"
            )


def run(main, takes: str = "") -> None:
    """absl's app.run, with bad input shown as one line instead of a traceback.

    A training that a signal stopped has saved where it was: that is no failure.

    Args:
      main: what runs.
      takes: what the arguments besides flags are, which `main` is then called with;
        empty where there must be none.
    """

    def guarded(argv):
        if len(argv) > 1 and not takes:
            sys.exit(f"error: unexpected argument '{argv[1]}': flags start with --")
        logging.set_verbosity(logging.INFO)
        logging.get_absl_handler().addFilter(_ours)
        use_compilation_cache()
        # On a CPU, a program runs in the thread that calls it: handing a small plan to
        # another takes about as long as the plan (docs/performance.md).
        jax.config.update("jax_cpu_enable_async_dispatch", False)
        try:
            if "distributed" in FLAGS:
                if FLAGS.deterministic:
                    _add_xla_flag("--xla_gpu_deterministic_ops=true")
                _join_processes()
            main(*([argv[1:]] if takes else []))
        except Interrupted as interrupted:
            print(interrupted, file=sys.stderr)
        except jax.errors.JaxRuntimeError as error:
            if jax.process_count() == 1:
                raise
            # jax.distributed says which one, when its heartbeat is missed.
            sys.exit(
                f"error: process {jax.process_index()} lost another process of the job "
                f"({str(error).splitlines()[0]}); the same commands go on from the "
                "newest checkpoint"
            )
        except (RactdError, FloatingPointError, ValueError, OSError) as error:
            logging.debug("traceback", exc_info=True)
            sys.exit(f"error: {one_line(error)}")

    app.run(guarded, flags_parser=parse_flags)
