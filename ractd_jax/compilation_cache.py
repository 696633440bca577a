"""Compiled programs are kept between processes, in the user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path

import jax

# JAX's own second leaves out the many small programs that loading and planning make.
_SHORTEST_SECONDS = 0.01


def use_compilation_cache() -> None:
    """Keeps compiled programs in ``~/.cache/ractd_jax/xla``, unless JAX has a folder.

    ``XDG_CACHE_HOME`` moves the user's cache folder, ``JAX_COMPILATION_CACHE_DIR`` or
    ``jax.config`` name another one, ``JAX_ENABLE_COMPILATION_CACHE=0`` turns it off.
    What runs through ``experiments`` and :func:`ractd_jax.load_planner` calls this.
    """
    if jax.config.jax_compilation_cache_dir is not None:
        return
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    jax.config.update("jax_compilation_cache_dir", f"{base}/ractd_jax/xla")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _SHORTEST_SECONDS)
