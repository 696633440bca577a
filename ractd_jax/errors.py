"""Errors that bad input raises; each names the place, what was expected and found."""

from __future__ import annotations

import os


class RactdError(Exception):
    """Base class of every error that bad input raises."""


class DataError(RactdError):
    """A dataset or policy file that cannot be used.

    Args:
      path: the file, folder or dataset id.
      field: the field in question, if it is a single one.
      expected: what was expected.
      found: the actual content.
    """

    def __init__(self, path, *, expected: object, found: object, field: str = ""):
        self.path = os.fspath(path) if isinstance(path, os.PathLike) else str(path)
        self.field = field
        self.expected = str(expected)
        self.found = str(found)
        where = f"{self.path}: field '{field}'" if field else self.path
        super().__init__(f"{where}: expected {self.expected}, found {self.found}")


class ConfigError(RactdError):
    """A configuration field or flag with a value that cannot be used."""


class CheckpointError(RactdError):
    """A checkpoint that is missing, damaged, or belongs to something else."""


class WorkdirError(RactdError):
    """A training's folder that cannot be written to, or that another one uses."""


class PolicyError(DataError):
    """An exported policy that is damaged, of another kind, or not for this machine."""
