"""Flags that are paths, seeds and numbers, and how wrong flags are shown."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Iterable

from absl import flags, logging

from ractd_jax.errors import ConfigError, RactdError
from ractd_jax.paths import local_path
from ractd_jax.settings.options import LARGEST_SEED

FLAGS = flags.FLAGS


class _PathParser(flags.ArgumentParser):
    """Local paths, see :func:`local_path`."""

    syntactic_help = "a local path"

    def __init__(self, name: str, may_be_empty: bool):
        super().__init__()
        self._name, self._may_be_empty = name, may_be_empty

    def parse(self, argument):
        if not argument and not self._may_be_empty:
            raise ConfigError(f"--{self._name}: expected a path, found nothing")
        return local_path(argument, f"--{self._name}")


def define_path(name: str, default: str | None, text: str, **options) -> None:
    """A flag for a file or folder of this machine; empty only where the default is."""
    parser = _PathParser(name, may_be_empty=default == "")
    serializer = flags.ArgumentSerializer()
    flags.DEFINE(parser, name, default, text, serializer=serializer, **options)


class _PathsParser(flags.ListParser):
    """Several of them, with commas."""

    def __init__(self, name: str):
        super().__init__()
        self._path = _PathParser(name, may_be_empty=False)

    def parse(self, argument):
        return [self._path.parse(path) for path in super().parse(argument)]


def define_paths(name: str, default, text: str, **options) -> None:
    """A flag for files or folders of this machine, with commas."""
    parser, serializer = _PathsParser(name), flags.CsvListSerializer(",")
    flags.DEFINE(parser, name, default, text, serializer=serializer, **options)


def expect_none(names: Iterable[str], beside: str) -> None:
    """Raises ConfigError for those of the flags that are given, `beside` something."""
    for name in names:
        if FLAGS[name].value is not None:
            raise ConfigError(
                f"--{name}: expected none with {beside}, found {FLAGS[name].value!r}"
            )


def numbers(name: str) -> list[float]:
    """Those of a flag that lists them; ConfigError for what is none."""
    values = FLAGS[name].value
    try:
        found = [float(value) for value in values]
    except ValueError:
        found = []
    if not found or not all(map(math.isfinite, found)):
        given = ",".join(values)
        raise ConfigError(f"--{name}: expected numbers with commas, found {given!r}")
    return found


def widths(name: str) -> tuple[int, ...]:
    """Those of a flag that lists them; ConfigError for what is none."""
    found = numbers(name)
    if any(value < 1 or value != int(value) for value in found):
        given = ",".join(FLAGS[name].value)
        raise ConfigError(f"--{name}: expected integers above 0, found {given!r}")
    return tuple(map(int, found))


def define_seed(name: str, default: int | None, text: str) -> None:
    """A flag for a seed."""
    bounds = {"lower_bound": 0, "upper_bound": LARGEST_SEED}
    flags.DEFINE_integer(name, default, text, **bounds)


def one_line(error: Exception | str) -> str:
    """Its text in one line; of a traceback, which libraries quote, the last one."""
    lines = str(error).strip().splitlines()
    return " ".join(lines[-1:] if "Traceback (" in str(error) else lines)


def parse_flags(argv):
    """absl's own, with whatever is wrong shown as one line."""
    try:
        return FLAGS([_with_home(argument) for argument in argv])
    except RactdError as error:
        sys.exit(f"error: {one_line(error)}")
    except flags.Error as error:
        sys.exit(f"error: {_flag_error(error)}")
    except AttributeError as error:
        found = one_line(error).strip('"').replace("\\n", " ").replace("\\'", "'")
        sys.exit(f"error: --config: expected fields of docs/settings.md, found {found}")
    # A config file is a program, and an override may ask for anything of its fields.
    except Exception as error:
        logging.debug("traceback", exc_info=True)
        found = f"{type(error).__name__}: {one_line(error)}"
        sys.exit(
            f"error: --config: expected a config file and its fields, found {found}"
        )


def _flag_error(error: flags.Error) -> str:
    """absl's text, in words for two mistakes that it describes from the inside."""
    name = getattr(error, "flagname", "")
    # The fields are flags only once a config says which ones there are.
    if name.startswith("config.") and "config" in FLAGS:
        return (
            f"--{name}: expected a config with it (--config=FILE, or --preset=NAME of "
            "python -m ractd_jax), found none"
        )
    text = one_line(error).removeprefix("flag ")
    missing = re.match(r"(--\w+)=None: Flag --\w+ must have a value", text)
    return f"{missing[1]}: expected a value, found none" if missing else text


def _with_home(argument: str) -> str:
    """--config=~/FILE, which ml_collections would not find."""
    name, _, value = argument.partition("=")
    is_home = name == "--config" and value.startswith("~")
    return f"{name}={os.path.expanduser(value)}" if is_home else argument
