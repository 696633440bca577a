"""README and docs: links lead somewhere, commands exist.

tests/test_docs_python.py runs their Python.
"""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from ractd_jax.__main__ import MODULES
from ractd_jax.settings import Settings

ROOT = Path(__file__).parents[1]
FOLDERS = ("docs", "benchmarks", "notebooks", "ractd_jax/policies")
PAGES = [ROOT / "README.md"] + [
    page
    for folder in FOLDERS
    for page in sorted((ROOT / folder).rglob("*.md"))
    if "_build" not in page.parts
]
# Notes keep the commands of their time.
CURRENT = [page for page in PAGES if "notes" not in page.parts]
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
CONFIG_FLAG = re.compile(r"^--config\.([a-z0-9_.]+)=")
MAIN = re.compile(r"\b(experiments|benchmarks)\.([a-z_]+)")


CITATION = re.compile(
    r"\b([A-Z]\w+(?: and [A-Z]\w+| et\s+al\.))[, ]*\(?((?:19|20)\d\d)\b"
)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """GitHub's anchors of a page's headings."""
    headings = HEADING.findall(page.read_text())
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in headings
    }


def commands(page: Path) -> list[list[str]]:
    """The words of each `python -m` command that is an indented block."""
    text = page.read_text().replace("\\\n", " ")
    lines = re.findall(r"^    (?:\w+=\S+ )?(python -m .*)$", text, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_to_files_and_headings(page):
    for target in LINK.findall(page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


@pytest.mark.parametrize("page", CURRENT, ids=name_of)
def test_commands_name_modules_flags_and_settings_that_exist(page):
    shared = (ROOT / "ractd_jax/mains/launch.py").read_text()
    shared += (ROOT / "benchmarks/common.py").read_text()
    for _, _, module, *words in commands(page):
        if module == "ractd_jax":
            module = f"ractd_jax.mains.{MODULES.get(words[0], words[0])}"
            shared += '"preset"'
        module = module.replace("experiments.", "ractd_jax.mains.")
        spec = importlib.util.find_spec(module)
        assert spec is not None, module
        source = shared + Path(spec.origin).read_text()
        for word in words:
            if setting := CONFIG_FLAG.match(word):
                value = Settings()
                for part in setting[1].split("."):
                    value = getattr(value, part)
            elif word.startswith("--"):
                flag = word[2:].partition("=")[0]
                assert f'"{flag}"' in source, word


@pytest.mark.parametrize("page", CURRENT, ids=name_of)
def test_mains_named_in_the_text_exist(page):
    """Outside of blocks of commands, too."""
    for folder, name in MAIN.findall(page.read_text()):
        assert (ROOT / folder / f"{name}.py").exists(), f"{folder}.{name}"


def test_commands_are_found_in_the_pages():
    found = [command[2] for page in CURRENT for command in commands(page)]
    assert len(found) > 30
    assert {"experiments.pipeline", "experiments.sweep"} <= set(found)


def test_cited_works_are_listed():
    """Works cited by author and year, in code and pages, stand in references.md."""
    listed = (ROOT / "docs/references.md").read_text()
    cited = set()
    for folder in ("ractd_jax", "configs", "experiments", "benchmarks"):
        for file in (ROOT / folder).rglob("*.py"):
            cited |= set(CITATION.findall(file.read_text()))
    for page in set(PAGES) - {ROOT / "docs/references.md"}:
        cited |= set(CITATION.findall(page.read_text()))
    assert len(cited) > 15
    for authors, year in cited:
        assert f"| {' '.join(authors.split())} ({year}) |" in listed, (authors, year)
