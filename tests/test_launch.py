"""What the mains set before JAX starts."""

import logging
import os
from pathlib import Path

import jax
import pytest

from ractd_jax.mains import launch
from ractd_jax.settings import Settings, from_mapping
from ractd_jax.settings.options import described_tree
from tests.conftest import run_main

FUSIONS = "--xla_cpu_experimental_ynn_fusion_type"


def flags_with(monkeypatch, given: str, kind: str, version: str = "0.10.2") -> str:
    monkeypatch.setenv("XLA_FLAGS", given)
    monkeypatch.setattr(jax.lib, "__version__", version)
    launch.use_fast_cpu_kernels(from_mapping({"network": {"kind": kind}}))
    return os.environ["XLA_FLAGS"]


@pytest.mark.parametrize(
    "given, expected",
    [
        ("", f"{FUSIONS}="),
        ("--xla_other=1", f"--xla_other=1 {FUSIONS}="),
        (f"{FUSIONS}=LIBRARY_FUSION_TYPE_DOT", f"{FUSIONS}=LIBRARY_FUSION_TYPE_DOT"),
    ],
)
def test_fusions_are_off_for_an_mlp_unless_the_user_chose_some(
    monkeypatch, given, expected
):
    assert flags_with(monkeypatch, given, "mlp") == expected


def test_a_unet_keeps_them(monkeypatch):
    assert flags_with(monkeypatch, "--xla_other=1", "unet") == "--xla_other=1"


def test_no_flag_that_another_jaxlib_may_not_know(monkeypatch):
    assert flags_with(monkeypatch, "--xla_other=1", "mlp", "0.12.0") == "--xla_other=1"


def test_the_mains_run_programs_in_the_calling_thread(monkeypatch):
    """JAX reads the switch when a device is first asked for: inside `main`."""
    name = "jax_cpu_enable_async_dispatch"
    before = jax.config.read(name)
    found = []
    monkeypatch.setattr(launch.app, "run", lambda guarded, **_: guarded(["main"]))
    try:
        launch.run(lambda: found.append(jax.config.read(name)))
    finally:
        jax.config.update(name, before)
    assert found == [False]


def test_helpfull_shows_every_field_with_its_sentence():
    # absl breaks lines at hyphens, too.
    shown = "".join(run_main("train", "--helpfull", check=False).stdout.split())
    for name, text in described_tree(Settings()):
        assert f"--{name}:{''.join(text.split())}" in shown


def test_libraries_are_quiet_and_the_package_is_not():
    """Wherever it is installed."""

    def passes(path, level):
        return launch._ours(logging.makeLogRecord({"pathname": path, "levelno": level}))

    library = "/somewhere/site-packages/orbax/checkpoint.py"
    ours = str(Path(launch.__file__).parents[1] / "training" / "loop.py")
    assert not passes(library, logging.INFO) and passes(library, logging.WARNING)
    assert passes(ours, logging.INFO)


def test_an_installed_packages_lines_are_its_own(monkeypatch):
    folder = "/somewhere/site-packages/ractd_jax"
    monkeypatch.setattr(launch, "_PACKAGE", folder)
    record = logging.makeLogRecord({"pathname": f"{folder}/training/loop.py"})
    record.levelno = logging.INFO
    assert launch._ours(record)
