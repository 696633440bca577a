"""The processes of a job, each of which runs the same program."""

from __future__ import annotations

import jax
import numpy as np
from jax.experimental import multihost_utils

from ractd_jax.errors import ConfigError


def check_devices() -> None:
    """Raises ConfigError where JAX cannot start the platform that it is told to use."""
    try:
        jax.local_devices()
    # An assertion of JAX's, without a text, where it knows no such platform at all.
    except (RuntimeError, AssertionError) as error:
        reason = (str(error).splitlines() or ["none of that name"])[0]
        raise ConfigError(
            f"JAX_PLATFORMS={jax.config.jax_platforms or ''}: expected a platform that "
            f"JAX can start here, found: {reason}"
        ) from None


def is_first_process() -> bool:
    """Whether this process writes what one process has to."""
    return jax.process_index() == 0


def wait_for_all(name: str) -> None:
    """Returns when every process of the job has come here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def any_process(condition: bool) -> bool:
    """Whether it holds in any process of the job; all of them ask together."""
    if jax.process_count() == 1:
        return condition
    return bool(multihost_utils.process_allgather(np.array(condition)).any())
