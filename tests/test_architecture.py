"""Which part may import which, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from ractd_jax.training.stages import plan_stage, reward_stage
from tests.toys import save_untrained, toy_dataset, toy_settings

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ractd_jax"
FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(source: str, module: str = "", is_package: bool = False) -> set[str]:
    """Every dotted name that `source` imports, at any depth, also relatively.

    ``from a import b`` counts as ``a.b``: whether b is a module or a name in a, it
    lies below a.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                origin = ".".join([*parts, origin] if origin else parts)
            found |= {f"{origin}.{alias.name}" for alias in node.names}
    return found


def is_below(name: str, parents) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


IMPORTS = {
    module_name(path): imports_of(
        path.read_text(), module_name(path), path.stem == "__init__"
    )
    for path in FILES
}


def offenders(importers, allowed=None, forbidden=()) -> list[str]:
    """``module imports name`` of every import that breaks a rule.

    Args:
      importers: modules or packages that the rule is about.
      allowed: of ractd_jax, they may import only what lies below these.
      forbidden: they may import nothing below these.
    """
    broken = []
    for module, names in IMPORTS.items():
        if not is_below(module, importers):
            continue
        for name in sorted(names):
            ours = is_below(name, ["ractd_jax"])
            outside = allowed is not None and ours and not is_below(name, allowed)
            if outside or is_below(name, forbidden):
                broken.append(f"{module} imports {name}")
    return broken


def ours(*parts: str) -> list[str]:
    return [f"ractd_jax.{part}" for part in parts]


def test_the_parts_are_there():
    """The rules below speak of modules that exist and import something."""
    parts = ours("networks", "diffusion", "student", "losses", "data", "recording",
                 "inspection", "methods", "tasks", "storage", "training", "planning",
                 "evaluation", "reports", "pipelines", "interop", "errors",
                 "policy")  # fmt: skip
    for part in parts:
        assert any(is_below(module, [part]) for module in IMPORTS), part
    assert "ractd_jax.networks.blocks.Compute" in IMPORTS["ractd_jax.networks"]
    assert "ractd_jax.losses" in IMPORTS["ractd_jax.methods.edm"] | {
        name.rpartition(".")[0] for name in IMPORTS["ractd_jax.methods.edm"]
    }
    assert sum(map(len, IMPORTS.values())) > 150


def test_imports_are_found_wherever_they_stand():
    """Plain, from, renamed, relative, inside a function, under an if."""
    source = """
import a.b as c
from a import d, e as f
from . import g
from .h import i
from .. import j
def late():
    if True:
        import k
"""
    expected = {"a.b", "a.d", "a.e", "k", "p.q.g", "p.q.h.i", "p.j"}
    assert imports_of(source, "p.q.r") == expected
    assert imports_of("from .x import y", "p.q", is_package=True) == {"p.q.x.y"}
    assert imports_of("from ..x import y", "p.q", is_package=True) == {"p.x.y"}


def test_a_broken_rule_is_found():
    """Training does import jax and the losses: the checker says so."""
    training = ours("training")
    assert offenders(training, forbidden=["jax"])
    assert offenders(training, forbidden=ours("losses"))
    assert offenders(training, allowed=training)
    assert not is_below("ractd_jax.methods_old", ours("methods"))


def test_networks_stand_alone():
    """They know no diffusion, no data and no settings."""
    networks = ours("networks")
    assert offenders(networks, allowed=[*networks, *ours("errors")]) == []


def test_diffusion_knows_no_student_and_no_training():
    above = ours("student", "losses", "methods", "storage", "training", "planning",
                 "evaluation", "data", "interop")  # fmt: skip
    assert offenders(ours("diffusion"), forbidden=above) == []


def test_student_and_losses_know_no_training():
    above = ours("methods", "storage", "training", "planning", "evaluation", "data",
                 "interop")  # fmt: skip
    assert offenders(ours("student", "losses"), forbidden=above) == []
    assert offenders(ours("student"), forbidden=ours("losses")) == []


def test_methods_know_no_data_and_no_devices():
    above = ours("storage", "training", "planning", "evaluation", "data", "interop")
    assert offenders(ours("methods"), forbidden=above) == []


def test_tasks_know_what_is_true_of_environments_and_nothing_else():
    tasks = ours("tasks")
    below = [
        *tasks,
        *ours("settings", "errors", "files", "dimensions", "networks.recurrent"),
    ]
    assert offenders(tasks, allowed=below) == []


def test_storage_knows_no_data_and_no_training():
    above = ours("training", "planning", "evaluation", "data", "interop")
    assert offenders(ours("storage"), forbidden=above) == []


def test_data_recording_and_inspection_know_no_network():
    """And data neither who recorded it nor who looks at it, but for one warning."""
    above = ours("networks", "diffusion", "student", "losses", "methods", "storage",
                 "training", "planning", "evaluation", "reports",
                 "interop")  # fmt: skip
    wings = ours("recording", "inspection")
    assert offenders([*ours("data"), *wings], forbidden=above) == []
    (warning,) = offenders(ours("data"), forbidden=wings)
    assert "data.sources imports ractd_jax.inspection.logged" in warning
    assert offenders(ours("recording"), forbidden=ours("inspection")) == []
    assert offenders(ours("inspection"), forbidden=ours("recording")) == []


def test_reports_are_made_of_results_alone():
    """Pictures of mazes know their walls, too."""
    allowed = ours("reports", "evaluation.results", "errors", "files", "settings",
                   "tables")  # fmt: skip
    found = offenders(ours("reports"), allowed=allowed)
    assert [line for line in found if "reports.maze_" not in line] == []
    above = ours("training", "storage", "methods", "planning", "pipelines", "recording")
    assert offenders(ours("reports"), forbidden=above) == []
    assert offenders(ours("evaluation"), forbidden=ours("reports")) == []


def test_errors_and_settings_are_at_the_bottom():
    bottom = ours("errors", "files", "paths", "tables")
    assert offenders(bottom, allowed=ours("errors")) == []
    settings = ours("settings")
    assert offenders(settings, allowed=[*settings, *ours("errors", "paths")]) == []


def test_a_policy_needs_jax_and_numpy_only():
    """What it imports, they do: the machine that acts has nothing else."""
    files = ours("policy", "inputs", "errors")
    assert offenders(files, allowed=files) == []
    outside = {
        name.partition(".")[0]
        for module in files
        for name in IMPORTS[module]
        if not is_below(name, ["ractd_jax"])
    }
    assert outside - sys.stdlib_module_names == {"jax", "numpy"}


def test_only_pipelines_put_trainings_and_evaluations_together():
    below = ours("networks", "diffusion", "student", "losses", "methods", "storage",
                 "data", "recording", "inspection", "training", "planning",
                 "evaluation", "reports", "interop")  # fmt: skip
    assert offenders(below, forbidden=ours("pipelines")) == []


def test_training_knows_no_planner_and_planning_no_training():
    above = ours("planning", "evaluation", "reports")
    assert offenders(ours("training", "methods"), forbidden=above) == []
    beside = ours("evaluation", "training", "data")
    assert offenders(ours("planning"), forbidden=beside) == []


@pytest.mark.parametrize("outside", ["configs", "experiments", "benchmarks", "tests"])
def test_package_imports_nothing_around_it(outside):
    assert offenders(["ractd_jax"], forbidden=[outside]) == []


def test_mains_are_short_and_import_no_other():
    """But for the modules of the flags that they share."""
    shared = ours("mains.launch", "mains.flag_kinds")
    for path in sorted((ROOT / "ractd_jax/mains").glob("*.py")):
        source = path.read_text()
        found = {n for n in imports_of(source) if is_below(n, ours("mains"))}
        assert all(is_below(name, shared) for name in found), path.name
        code = source.partition("def run() -> None:")[0]
        body = code.removeprefix(f'"""{ast.get_docstring(ast.parse(source), False)}"""')
        is_main = f"ractd_jax.mains.{path.stem}" not in shared
        assert not is_main or body.count("\n") < 60, path.name


def test_experiments_run_the_mains_of_the_package():
    mains = {path.stem for path in (ROOT / "ractd_jax/mains").glob("*.py")}
    found = {path.stem for path in (ROOT / "experiments").glob("*.py")}
    assert found == mains - {"launch", "flag_kinds"}
    for name in found - {"__init__"}:
        source = (ROOT / f"experiments/{name}.py").read_text()
        assert imports_of(source) == {f"ractd_jax.mains.{name}"}


def test_mains_are_imported_by_nothing_but_the_command():
    found = offenders(["ractd_jax"], forbidden=ours("mains"))
    above = ("ractd_jax.mains", "ractd_jax.__main__")
    assert [line for line in found if not line.startswith(above)] == []


def test_config_dicts_end_at_the_presets():
    found = offenders(["ractd_jax"], forbidden=["ml_collections"])
    above = ("ractd_jax.presets", "ractd_jax.mains")
    assert [line for line in found if not line.startswith(above)] == []


def test_orbax_is_known_to_one_module():
    users = {
        m for m, names in IMPORTS.items() if any(is_below(n, ["orbax"]) for n in names)
    }
    assert users == {"ractd_jax.storage.checkpoint"}


def test_pmap_is_known_to_one_module():
    users = {module_name(path) for path in FILES if "pmap" in path.read_text()}
    assert users == {"ractd_jax.training.parallel"}


def imported_by(program: str, *watched: str) -> str:
    """Those of the `watched` modules that a program imports in a fresh process."""
    program = (
        f"import sys\n{program}\n"
        f"print(*[name for name in {watched} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_of_the_package_does_not_import_jax():
    """``import ractd_jax`` is free: no backend starts, not even jax is loaded."""
    heavy = ("jax", "flax", "optax", "orbax", "minari", "gymnasium", "ml_collections")
    program = "import ractd_jax; assert ractd_jax.__version__"
    assert imported_by(program, *heavy) == ""


def test_a_planner_needs_no_environments_datasets_or_optimisers(tmp_path):
    """Neither to load it, with a reward model to choose by, nor to plan."""
    settings = toy_settings(network={"kind": "mlp", "mlp_width": 16})
    dataset = toy_dataset()
    save_untrained(plan_stage("teacher", settings, dataset), tmp_path / "teacher")
    save_untrained(reward_stage(settings, dataset), tmp_path / "reward")
    program = f"""
import jax, numpy, ractd_jax
planner = ractd_jax.load_planner(
    {str(tmp_path / "teacher")!r}, num_candidates=2, reward={str(tmp_path / "reward")!r}
)
planner.act(numpy.zeros((1, 3), numpy.float32), jax.random.key(0))
"""
    training = ("minari", "h5py", "gymnasium", "optax", "ractd_jax.training")
    assert imported_by(program, "jax", *training) == "jax"


def test_results_are_read_without_jax():
    """Of sweeps and of benchmarks, and what statistics are made of them."""
    modules = ours("reports.results_table", "reports.aggregate_summary",
                   "reports.benchmark_table")  # fmt: skip
    heavy = ("jax", "flax", "orbax", "minari", "gymnasium", "ml_collections")
    assert imported_by(f"import {', '.join(modules)}", "numpy", *heavy) == "numpy"
