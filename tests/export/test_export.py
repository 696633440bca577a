"""Planners as one file: the same numbers, nothing else needed, damage refused."""

import hashlib
import importlib.metadata
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest

import ractd_jax
from ractd_jax import policy
from ractd_jax.errors import DataError
from ractd_jax.evaluation.rollout import evaluate_planner
from ractd_jax.normalizers import MinMaxNormalizer
from ractd_jax.planning.export import (
    describe_checkpoint,
    export_planner,
    largest_difference,
)
from ractd_jax.settings import Environment, to_dict
from ractd_jax.storage.checkpoint import Checkpointer
from ractd_jax.training.state import create_state, make_optimizer
from tests.conftest import ROOT, run_main
from tests.export.conftest import make_planner

# Undoes what tests/conftest.py sets; it adds only what is not set yet.
FULLY_OPTIMISED = {
    "XLA_FLAGS": "--xla_backend_optimization_level=3 "
    "--xla_cpu_use_fusion_emitters=true --xla_force_host_platform_device_count=1"
}
MEMBERS = {"metadata.json", "plan.stablehlo", "weights.npz"}


def make_observations(batch_size, history=1):
    shape = (batch_size, 11) if history == 1 else (batch_size, history, 11)
    return np.random.default_rng(batch_size).standard_normal(shape, np.float32)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(
            {"num_steps": 1, "history": 2, "widths": (8, 16)}, marks=pytest.mark.slow
        ),
        {"num_steps": 2, "conv": "lax"},
        pytest.param({"num_steps": 4}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_students_plans_are_the_planners(options, tmp_path):
    planner, history = make_planner(**options), options.get("history", 1)
    still = float(planner.action_normalizer.low[2])
    export_planner(planner, tmp_path / "policy.zip")
    loaded = ractd_jax.load_policy(tmp_path / "policy.zip")
    assert (loaded.num_steps, loaded.nfe) == (planner.num_steps, planner.nfe)
    assert loaded.dims._asdict() == vars(planner.dims)
    for batch_size in (1, 5):
        observations = make_observations(batch_size, history)
        keys = jax.random.split(jax.random.key(batch_size), batch_size)
        plans = np.asarray(planner.plan(observations, keys))
        assert plans.std(axis=1)[:, :2].min() > 0.01
        found = loaded.plan(observations, keys)
        assert isinstance(found, jax.Array) and found.shape == (batch_size, 8, 3)
        np.testing.assert_allclose(found, plans, rtol=0, atol=1e-6)
        assert np.unique([found[..., 2], plans[..., 2]]).tolist() == [still]


_TEACHER = """
from ractd_jax import load_policy
from ractd_jax.planning.export import export_planner, largest_difference
from tests.export.conftest import make_planner

planner = make_planner("teacher", 5, widths=(8,))
export_planner(planner, "policy.zip")
policy = load_policy("policy.zip")
assert (policy.stage, policy.num_steps, policy.nfe) == ("teacher", 5, 10)
print(largest_difference(planner, policy))
"""


@pytest.mark.slow
def test_teachers_plans_are_the_planners(tmp_path):
    """As little optimised as the tests compile, rounding at noise level 80 shows."""
    done = subprocess.run(
        [sys.executable, "-c", _TEACHER],
        env={**os.environ, "PYTHONPATH": str(ROOT), **FULLY_OPTIMISED},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= 1e-6


@pytest.mark.slow
def test_half_precision_plans_within_its_rounding(tmp_path):
    planner = make_planner(dtype="bfloat16")
    export_planner(planner, tmp_path / "policy.zip")
    loaded = ractd_jax.load_policy(tmp_path / "policy.zip")
    assert {array.dtype.name for array in loaded.weights} == {"float32"}
    assert largest_difference(planner, loaded) < 0.02


def test_exported_policy_accepts_one_key_a_key_per_row_or_a_seed(planner, loaded):
    observations = make_observations(3)
    one = loaded.act(observations, jax.random.key(5))
    np.testing.assert_allclose(
        one, planner.act(observations, jax.random.key(5)), rtol=0, atol=1e-6
    )
    for seed in (5, np.int64(5)):
        np.testing.assert_array_equal(loaded.act(observations, seed), one)
    # Another program: its rounding may differ.
    own = jax.random.split(jax.random.key(5), 3)
    np.testing.assert_allclose(loaded.act(observations, own), one, rtol=1e-5, atol=1e-6)
    assert np.abs(one - loaded.act(observations, 6)).max() > 0.01


def test_large_weights_are_passed_at_each_call(planner, file, loaded, monkeypatch):
    monkeypatch.setattr(policy, "_CONSTANT_BYTES", 0)
    large = ractd_jax.load_policy(file)
    observations = make_observations(3)
    np.testing.assert_allclose(
        large.plan(observations, 1), loaded.plan(observations, 1), rtol=0, atol=1e-6
    )


def test_each_batch_size_compiles_once_and_act_hands_over_actions_only(loaded):
    before = loaded._plan._cache_size()
    for seed in range(3):
        assert loaded.act(make_observations(5), seed).shape == (5, 3)
    assert loaded._plan._cache_size() == before + 1


@pytest.mark.parametrize(
    ("observations", "key"),
    [
        (np.zeros(11), jax.random.key(0)),
        (np.zeros((2, 12)), jax.random.key(0)),
        (np.zeros((0, 11)), jax.random.key(0)),
        (np.full((1, 11), np.nan), jax.random.key(0)),
        (np.zeros((4, 11)), jax.random.split(jax.random.key(0), 3)),
    ],
)
def test_bad_input_is_refused_in_the_planners_words(planner, loaded, observations, key):
    for method in ("act", "plan"):
        with pytest.raises(ValueError) as expected:
            getattr(planner, method)(observations, key)
        with pytest.raises(ValueError, match=re.escape(str(expected.value))):
            getattr(loaded, method)(observations, key)


def test_a_policy_is_evaluated_as_its_planner(planner, loaded):
    environment = Environment(id="Hopper-v5")
    expected = evaluate_planner(planner, environment, 2, seed=7)
    found = evaluate_planner(loaded, environment, 2, seed=7)
    np.testing.assert_array_equal(found.lengths, expected.lengths)
    np.testing.assert_allclose(found.returns, expected.returns, rtol=1e-3)


def test_the_file_says_what_it_is(planner, file, loaded):
    with zipfile.ZipFile(file) as archive:
        assert set(archive.namelist()) == MEMBERS
        assert {info.date_time[0] for info in archive.infolist()} == {1980}
        metadata = json.loads(archive.read("metadata.json"))
        for name, digest in metadata["sha256"].items():
            assert hashlib.sha256(archive.read(name)).hexdigest() == digest
        with np.load(io.BytesIO(archive.read("weights.npz"))) as weights:
            assert len(weights.files) == len(loaded.weights)
        program = archive.read("plan.stablehlo")
    assert metadata == loaded.metadata
    assert set(metadata["sha256"]) == MEMBERS - {"metadata.json"}
    assert metadata["weights"] == "ema" and metadata["task"] == planner.settings.task
    assert metadata["inputs"]["observations"]["shape"] == ["b", 11]
    assert metadata["outputs"]["plans"]["shape"] == ["b", 8, 3]
    stored = MinMaxNormalizer.from_dict(metadata["normalizers"]["actions"])
    assert stored.equals(planner.action_normalizer)
    assert metadata["settings"] == json.loads(json.dumps(to_dict(planner.settings)))
    assert {"ractd_jax", "jax", "jaxlib", "flax"} <= metadata["versions"].keys()
    assert b".py" not in program and str(ROOT).encode() not in program


def test_one_program_for_every_platform(tmp_path):
    """On each, the convolutions in the form that the planner has there."""
    export_planner(make_planner(widths=(8,)), tmp_path / "unet.zip")
    loaded = ractd_jax.load_policy(tmp_path / "unet.zip")
    assert loaded.program.platforms == ("cpu", "cuda", "tpu")
    assert loaded.metadata["conv"] == {"cpu": "matmul", "default": "lax"}
    text = loaded.program.mlir_module()
    assert "stablehlo.convolution" in text and "stablehlo.dot_general" in text
    # Nothing that a backend would have to bring along.
    assert set(re.findall(r"custom_call @(\w+)", text)) <= {"shape_assertion"}


def test_levels_share_their_weights(tmp_path, file, loaded):
    export_planner(make_planner(num_steps=4), tmp_path / "four.zip")
    four = ractd_jax.load_policy(tmp_path / "four.zip")
    # One bias for each further level.
    assert len(four.weights) == len(loaded.weights) + 3


def test_the_same_planner_gives_the_same_bytes(planner, file, tmp_path):
    export_planner(make_planner(), tmp_path / "again.zip", {"weights": "ema"})
    assert (tmp_path / "again.zip").read_bytes() == file.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.zip"]
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="a file that can be written"):
        export_planner(planner, tmp_path / "folder")
    assert not list((tmp_path / "folder").iterdir())


_ALONE = """
import pickle, sys

def unpickle(*args, **kwargs):
    raise AssertionError("unpickled")

pickle.load = pickle.loads = pickle.Unpickler = unpickle
import ractd_jax
assert "jax" not in sys.modules
policy = ractd_jax.load_policy(sys.argv[1])
import numpy as np
print(np.asarray(policy.act(np.ones((2, 11)), 3)).tolist())
heavy = ("flax", "optax", "orbax", "chex", "ml_collections", "absl", "gymnasium",
         "minari", "h5py", "tensorstore")
print([name for name in heavy if name in sys.modules])
print(sorted(name for name in sys.modules if name.startswith("ractd_jax")))
"""


def link_packages(folder: Path, *names: str) -> None:
    """Makes of `folder` a site-packages with these distributions only."""
    for name in names:
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files} - {".."}:
            (folder / top).symlink_to(distribution.locate_file(top))


def test_it_runs_with_jax_and_numpy_alone(file, loaded, tmp_path):
    """Where ``pip install jax flatbuffers`` is all that was done."""
    jax_and_what_it_requires = ("jax", "jaxlib", "numpy", "scipy", "ml_dtypes",
                                "opt_einsum")  # fmt: skip
    link_packages(tmp_path, *jax_and_what_it_requires, "flatbuffers")
    done = subprocess.run(
        [sys.executable, "-S", "-c", _ALONE, file],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    actions, heavy, ours = done.stdout.splitlines()
    expected = loaded.act(np.ones((2, 11)), 3)
    np.testing.assert_allclose(json.loads(actions), expected, rtol=0, atol=1e-6)
    assert heavy == "[]"
    modules = ("", ".errors", ".inputs", ".policy")
    assert ours == str([f"ractd_jax{module}" for module in modules])


@pytest.fixture(scope="module")
def checkpoint(planner, tmp_path_factory) -> Path:
    """A training's folder, with one evaluation."""
    folder = tmp_path_factory.mktemp("training") / "student"
    metadata = {
        "stage": "student",
        "settings": to_dict(planner.settings),
        "dimensions": vars(planner.dims),
        "normalizers": {
            "observations": planner.observation_normalizer.to_dict(),
            "actions": planner.action_normalizer.to_dict(),
        },
        "dataset": {"name": "made up", "transitions": 10, "episodes": 1},
    }
    optimizer = make_optimizer(planner.settings.student.optimizer, 10)
    checkpointer = Checkpointer(folder)
    checkpointer.save(create_state(planner.params, optimizer, False), metadata)
    checkpointer.close()
    (folder / "evaluation").mkdir()
    (folder / "evaluation/student_1steps.json").write_text('{"score_mean": 12.5}')
    return folder


def test_export_main(checkpoint, tmp_path):
    """The file is what export_planner writes here: another process, the same bytes."""
    output = tmp_path / "new/policy.zip"
    done = run_main("export", f"--checkpoint={checkpoint}", f"--output={output}")
    summary = json.loads(done.stdout)
    assert summary["largest_difference_from_planner"] <= 1e-6
    assert summary["bytes"] == output.stat().st_size
    metadata = ractd_jax.load_policy(output).metadata
    assert metadata["evaluations"] == {"student_1steps": {"score_mean": 12.5}}
    assert metadata["dataset"]["name"] == "made up"
    planner = ractd_jax.load_planner(checkpoint)
    about = {"weights": "ema", **describe_checkpoint(checkpoint)}
    export_planner(planner, tmp_path / "here.zip", about)
    assert (tmp_path / "here.zip").read_bytes() == output.read_bytes()


def test_export_main_fails_in_one_line(checkpoint, tmp_path):
    for flags, message in (
        ([f"--output={tmp_path}"], f"error: {tmp_path}: expected a file that can be"),
        (["--output=x.zip", "--num_steps=0"], "error: num_steps must be in 1..80"),
    ):
        done = run_main("export", f"--checkpoint={checkpoint}", *flags, check=False)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert done.stderr.strip().splitlines()[-1].startswith(message)
    assert not (ROOT / "x.zip").exists()


def test_damaged_evaluations_are_named(checkpoint):
    bad = checkpoint / "evaluation/zz.json"
    bad.write_text("{")
    with pytest.raises(DataError, match="zz.json: expected JSON"):
        describe_checkpoint(checkpoint)
    bad.unlink()


def test_the_documented_control_loop(file, tmp_path):
    """The code of docs/deploy.md, in a real environment."""
    text = (ROOT / "docs/deploy.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(code.splitlines()) <= 30
    (tmp_path / "control_loop.py").write_text(code)
    done = subprocess.run(
        [sys.executable, tmp_path / "control_loop.py", file],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        r"return -?\d+\.\d, \d+ actions later than 0.008 s\n", done.stdout
    )
