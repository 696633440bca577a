"""Compiled programs are kept between processes, in the user's cache folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import jax
from absl import logging

# JAX's own second leaves out the many small programs that loading and planning make.
_SHORTEST_SECONDS = 0.01


def use_compilation_cache() -> None:
    """Keeps compiled programs in ``~/.cache/ractd_jax/xla``, unless JAX has a folder.

    ``XDG_CACHE_HOME`` moves the user's cache folder, ``JAX_COMPILATION_CACHE_DIR`` or
    ``jax.config`` name another one, ``JAX_ENABLE_COMPILATION_CACHE=0`` turns it off.
    Where there is no home or the folder cannot be written to, nothing is kept, with a
    warning. What runs through ``experiments`` and :func:`ractd_jax.load_planner` calls
    this.
    """
    given = jax.config.jax_compilation_cache_dir is not None
    if given or not jax.config.jax_enable_compilation_cache:
        return
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(base) / "ractd_jax" / "xla"
    try:
        if base.startswith("~"):
            raise OSError("the user has no home folder")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        logging.log_first_n(
            logging.WARNING,
            "compiled programs are not kept for the next process: %s "
            "(JAX_COMPILATION_CACHE_DIR names another folder for them)",
            1,
            error,
        )
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _SHORTEST_SECONDS)
