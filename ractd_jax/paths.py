"""Local paths, as users give them."""

from __future__ import annotations

import os
import re

from ractd_jax.errors import ConfigError

# Two letters or more: a single one is a drive. One slash: pathlib joins them.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def local_path(path: str | os.PathLike, name: str) -> str:
    """`path` with a leading ``~`` expanded; an empty one stays empty.

    Args:
      path: what a user gave.
      name: of the flag, field or argument that it was given by.

    Raises:
      ConfigError: it is an URL, names no user's folder, or can be no path at all.
    """
    text = os.fspath(path)
    if _URL.match(text):
        raise ConfigError(
            f"{name}: expected a local path, found the URL {text!r}: copy what it "
            "names to this machine, or mount it"
        )
    if "\0" in text:
        raise ConfigError(f"{name}: expected a path, found a zero byte in {text!r}")
    expanded = os.path.expanduser(text)
    if expanded.startswith("~"):
        raise ConfigError(
            f"{name}: expected the folder of a known user after ~, found {text!r} "
            "(./~ is a folder of that name)"
        )
    return expanded
