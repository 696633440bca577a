"""Manifests of checkpoints: names, sizes and SHA-256 digests of their files."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ractd_jax.files import write_text

NAME = "sha256.json"
_THREADS = min(8, os.cpu_count() or 1)


def write_manifest(folder: Path, step: int) -> None:
    """Writes the manifest of a checkpoint of `step` from its current files.

    Raises:
      OSError: a file cannot be read or the manifest not be written.
    """
    digests = _digests(folder, _files(folder))
    sizes = {name: (folder / name).stat().st_size for name in digests}
    files = {
        name: {"bytes": sizes[name], "sha256": digest}
        for name, digest in digests.items()
    }
    write_text(folder / NAME, _content(step, files))


def manifest_digest(folder: Path) -> str:
    """The digest of everything in a whole checkpoint, from its manifest."""
    return json.loads((folder / NAME).read_text())["sha256"]


def find_damage(folder: Path, step: int) -> str:
    """What is wrong with a checkpoint; empty if it equals what was saved to the byte.

    It reads every byte once and changes nothing.
    """
    try:
        files = _read(folder, step)
        if isinstance(files, str):
            return files
        there = _files(folder)
        for name in sorted(there.keys() | files.keys()):
            if name not in there:
                return f"{name}: expected a file, found none"
            if name not in files:
                return f"{name}: expected no such file, found one"
            if there[name] != files[name]["bytes"]:
                return (
                    f"{name}: expected {files[name]['bytes']} bytes, found "
                    f"{there[name]}"
                )
        for name, digest in _digests(folder, there).items():
            if digest != files[name]["sha256"]:
                return f"{name}: expected other content (sha256)"
    except OSError as error:
        return f"cannot be read: {error}"
    return ""


def _read(folder: Path, step: int) -> dict | str:
    """The manifest's entries by file, or what is wrong with it."""
    path = folder / NAME
    if not path.exists():
        return f"{NAME}: expected the checkpoint's manifest, found none"
    try:
        text = path.read_text()
        content = json.loads(text)
        found, files = content["step"], content["files"]
        whole = text == _content(found, files)
        for entry in files.values():
            entry["bytes"], entry["sha256"]
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        return f"{NAME}: the manifest is damaged"
    if found != step:
        return f"{NAME}: expected the manifest of step {step}, found that of {found}"
    return files


def _content(step: int, files: dict) -> str:
    """A manifest's text in its only form, which ends in its own digest."""
    content = {"step": step, "files": files}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return json.dumps({**content, "sha256": digest}, indent=0, sort_keys=True) + "\n"


def _files(folder: Path) -> dict[str, int]:
    """Size of each file below `folder`, except the manifest."""
    return {
        path.relative_to(folder).as_posix(): path.lstat().st_size
        for path in sorted(folder.rglob("*"))
        if not path.is_dir() and path != folder / NAME
    }


def _digests(folder: Path, names) -> dict[str, str]:
    def digest(name: str) -> str:
        with open(folder / name, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    with ThreadPoolExecutor(_THREADS) as pool:
        return dict(zip(names, pool.map(digest, names), strict=True))
