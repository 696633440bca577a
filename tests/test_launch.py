"""What the mains set before JAX starts."""

import os

import jax
import pytest

from experiments import launch

FUSIONS = "--xla_cpu_experimental_ynn_fusion_type"


@pytest.mark.skipif(
    not jax.lib.__version__.startswith("0.10."), reason="measured with jaxlib 0.10"
)
@pytest.mark.parametrize(
    "given, expected",
    [
        ("", f"{FUSIONS}="),
        ("--xla_other=1", f"--xla_other=1 {FUSIONS}="),
        (f"{FUSIONS}=LIBRARY_FUSION_TYPE_DOT", f"{FUSIONS}=LIBRARY_FUSION_TYPE_DOT"),
    ],
)
def test_fusions_are_off_unless_the_user_chose_some(monkeypatch, given, expected):
    monkeypatch.setenv("XLA_FLAGS", given)
    launch._use_fast_cpu_kernels()
    assert os.environ["XLA_FLAGS"] == expected


def test_no_flag_that_another_jaxlib_may_not_know(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_other=1")
    monkeypatch.setattr(jax.lib, "__version__", "0.12.0")
    launch._use_fast_cpu_kernels()
    assert os.environ["XLA_FLAGS"] == "--xla_other=1"
