"""Paths and seeds at the door, folders that are moved, and users without a home."""

import logging
import os
import pwd
import types
from pathlib import Path

import jax
import pytest
from absl import flags

from ractd_jax.compilation_cache import use_compilation_cache
from ractd_jax.data.minari_store import default_root, has_minari, local_root
from ractd_jax.errors import CheckpointError, ConfigError, DataError
from ractd_jax.files import check_writable, write_json
from ractd_jax.mains import flag_kinds
from ractd_jax.paths import local_path
from ractd_jax.processes import check_devices
from ractd_jax.recording.generate import generate_dataset
from ractd_jax.settings import from_mapping, with_absolute_paths
from ractd_jax.storage.checkpoint import StoredModel
from ractd_jax.storage.trained import find_built_on

# --- what is a path


def test_the_home_folder_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert local_path("~/läufe/eins zwei", "--workdir") == "/home/ada/läufe/eins zwei"
    for same in ("", "runs/a", "./~", "/a/~b", "C:/x", "a:b", "10:30/x"):
        assert local_path(same, "--workdir") == same


@pytest.mark.parametrize(
    "bad", ["gs://b/r", "S3://b", "hdfs:/b/r", "file:///r", "a+b.c://x", "~nobody9/r"]
)
def test_other_places_are_refused_by_name_of_the_flag(bad):
    with pytest.raises(ConfigError, match=f"^--out: expected .*{bad[-5:]}"):
        local_path(bad, "--out")
    for field in ("root", "path", "critic"):
        with pytest.raises(ConfigError, match=f"^config.dataset.{field}: expected"):
            from_mapping({"dataset": {field: bad}})
    with pytest.raises(ConfigError, match="^directory: expected"):
        StoredModel(bad)


def test_fields_are_expanded_and_kept_as_absolute_paths(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.chdir(tmp_path)
    settings = from_mapping({"dataset": {"root": "~/data", "critic": "runs/c"}})
    found = with_absolute_paths(settings).dataset
    assert (found.root, found.path) == ("/home/ada/data", "")
    assert found.critic == str(tmp_path / "runs/c")


@pytest.fixture
def parse(monkeypatch):
    """Parses flags by the mains' own parser; gives their values."""
    values = flags.FlagValues()
    monkeypatch.setattr(flag_kinds, "FLAGS", values)
    path, seed = flag_kinds.define_path, flag_kinds.define_seed
    monkeypatch.setattr(flags, "DEFINE", _into(flags.DEFINE, values))
    monkeypatch.setattr(flags, "DEFINE_integer", _into(flags.DEFINE_integer, values))
    path("workdir", None, "A folder.")
    path("root", "", "A folder.")
    flag_kinds.define_paths("results", None, "Folders.")
    seed("seed", 0, "A seed.")
    path("config", None, "A file.")

    def run(*arguments):
        flag_kinds.parse_flags(["main", *arguments])
        return values

    return run


def _into(define, values):
    return lambda *args, **options: define(*args, flag_values=values, **options)


def test_flags_are_paths(parse, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    found = parse("--workdir=~/runs", "--root=", "--results=~/a,b")
    assert found.workdir == "/home/ada/runs" and found.root == ""
    assert found.results == ["/home/ada/a", "b"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("--workdir=", "--workdir: expected a path, found nothing"),
        (
            "--workdir=gs://b",
            "--workdir: expected a local path, found the URL 'gs://b'",
        ),
        ("--results=a,s3://b", "--results: expected a local path, found the URL 's3:"),
        ("--seed=-1", "--seed=-1: -1 is not an integer in the range"),
        ("--seed=2147483648", "--seed=2147483648: 2147483648 is not an integer"),
        ("--seed=1.5", "--seed=1.5: invalid literal"),
        ("--sede=1", "Unknown command line flag 'sede'"),
        ("--config.seed=1", "--config.seed: expected a config with it (--config=FILE"),
    ],
)
def test_wrong_flags_are_one_line(parse, wrong, message):
    with pytest.raises(SystemExit) as stopped:
        parse(wrong)
    text = str(stopped.value)
    assert text.startswith(f"error: {message}") and "\n" not in text


def test_a_missing_flag_is_named(parse):
    parse()
    flags.mark_flag_as_required("workdir", flag_values=flag_kinds.FLAGS)
    with pytest.raises(SystemExit, match="^error: --workdir: expected a value, found"):
        parse("--seed=1")


@pytest.mark.parametrize("name", ["seed", "dataset.seed", "evaluation.seed"])
@pytest.mark.parametrize("value", [-1, 2**31])
def test_seeds_are_what_every_library_takes(name, value):
    section, _, field = name.rpartition(".")
    given = {field: value}
    with pytest.raises(ConfigError, match=rf"^config\.{name}: expected 0 <= value"):
        from_mapping({section: given} if section else given)


# --- what can be written


def test_files_are_checked_without_a_trace(tmp_path):
    check_writable(tmp_path / "new/deep/a.json", tmp_path / "b.npz")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("kept")
    for bad in (tmp_path, tmp_path / "file/x.json", Path("/proc/x/y"), "/dev/null/x"):
        with pytest.raises(DataError, match="expected a file that can be written"):
            check_writable(tmp_path / "fine.json", bad)
    with pytest.raises(DataError, match="too long"):
        check_writable(tmp_path / ("x" * 300))
    assert (tmp_path / "file").read_text() == "kept"


def test_what_cannot_be_finished_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    (tmp_path / "b.json").mkdir()
    with pytest.raises(OSError):
        write_json(tmp_path / "b.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["b.json"]


# --- models that others were built on


def student(folder: Path, directory: str, workdir: str | None = None):
    metadata = {"reward": {"directory": directory, "step": 1}}
    if workdir:
        metadata["workdir"] = workdir
    return types.SimpleNamespace(directory=folder, metadata=metadata)


@pytest.mark.parametrize(
    ("directory", "workdir"),
    [
        ("/old/place/models/reward", "/old/place/runs/ctd"),
        ("/old/place/ctd/../models/reward", "/old/place/runs/ctd"),
        ("models/reward", None),
        ("/old/models/reward", None),
    ],
)
def test_a_moved_tree_finds_its_reward_model(tmp_path, directory, workdir):
    near = "runs/reward" if directory == "/old/models/reward" else "models/reward"
    folder = tmp_path / "runs/ctd"
    stored = student(folder, directory, workdir)
    with pytest.raises(CheckpointError, match="reward model .*--reward.*reward= of "):
        find_built_on(stored, "reward")
    (tmp_path / near / "checkpoints").mkdir(parents=True)
    assert Path(find_built_on(stored, "reward")).samefile(tmp_path / near)


def test_where_it_was_comes_first(tmp_path):
    for name in ("old/reward", "new/reward"):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
    old = str(tmp_path / "old/reward")
    stored = student(tmp_path / "new/ctd", old, str(tmp_path / "old/ctd"))
    assert find_built_on(stored, "reward") == old


# --- users without a home


@pytest.fixture(params=["none", "unwritable"])
def homeless(request, monkeypatch, tmp_path):
    """No HOME and no entry in passwd, or one that is no folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_CACHE_HOME", "MINARI_DATASETS_PATH"):
        monkeypatch.delenv(name, raising=False)
    if request.param == "unwritable":
        monkeypatch.setenv("HOME", "/dev/null/home")

    def nobody(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    yield
    assert list(tmp_path.iterdir()) == []


def test_without_a_home_no_program_is_kept(homeless, caplog, monkeypatch):
    name = "jax_compilation_cache_dir"
    before = getattr(jax.config, name)
    logging_of = "ractd_jax.compilation_cache.logging.log_first_n"
    monkeypatch.setattr(logging_of, lambda level, text, n, *a: caplog.set_level(level))
    try:
        jax.config.update(name, None)
        use_compilation_cache()
        assert getattr(jax.config, name) is None
    finally:
        jax.config.update(name, before)


def test_without_a_home_datasets_are_kept_for_the_process_only(homeless, caplog):
    with caplog.at_level(logging.WARNING, logger="absl"), local_root(""):
        root = Path(os.environ["MINARI_DATASETS_PATH"])
        assert root.is_dir()
    assert "MINARI_DATASETS_PATH" not in os.environ
    assert not has_minari("some/made-up-v0", "")
    with pytest.raises((ConfigError, DataError), match="expected"):
        generate_dataset("hopper-medium", 10, 0, num_workers=1)


def test_a_named_root_that_cannot_be_is_refused(monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", "/dev/null/data")
    assert default_root() == "/dev/null/data"
    with pytest.raises(DataError, match="/dev/null/data: .*MINARI_DATASETS_PATH"):
        has_minari("some/made-up-v0", "")


def test_a_platform_that_is_not_there_is_what_is_blamed(monkeypatch, tmp_path):
    def missing():
        raise RuntimeError("Unable to initialize backend 'warp': no such\nmore")

    monkeypatch.setattr(jax, "local_devices", missing)
    for ask in (check_devices, lambda: StoredModel(tmp_path)):
        with pytest.raises(ConfigError, match="^JAX_PLATFORMS=.*'warp': no such$"):
            ask()
