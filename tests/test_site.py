"""The documentation site: builds without a warning, its links lead somewhere.

Links to other hosts are not followed, here or in the build: a machine that runs the
tests need not reach them.
"""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mains import ROOT
from tests.site_links import broken_links

COMMAND = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q"]
# A page, and a name that the reference must have there.
ENTRIES = {
    "loading": ("ractd_jax.load_planner", "ractd_jax.load_policy"),
    "planning": ("ractd_jax.planning.Planner.act", "ractd_jax.planning.Planner.plan"),
    "policy": ("ractd_jax.policy.Policy.act",),
    "diffusion": ("ractd_jax.diffusion.heun_step", "ractd_jax.diffusion.karras_sigmas"),
    "student": ("ractd_jax.student.jump", "ractd_jax.student.fidelity"),
    "losses": ("ractd_jax.losses.ctm_loss", "ractd_jax.losses.student_loss"),
    "methods": ("ractd_jax.methods.register_plan_method",),
    "tasks": ("ractd_jax.tasks.register", "ractd_jax.tasks.Task.happened"),
    "data": ("ractd_jax.data.readers.register_reader",),
    "errors": ("ractd_jax.errors.DataError",),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site's folder, built anew."""
    folder = tmp_path_factory.mktemp("site")
    command = [*COMMAND, "-d", folder / "doctrees", "-c", "docs", ".", folder / "html"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-8000:]
    return folder / "html"


@pytest.mark.slow
def test_every_link_inside_the_site_leads_somewhere(site):
    assert len(list(site.rglob("*.html"))) > 100
    assert broken_links(site) == []


@pytest.mark.slow
def test_the_root_leads_to_the_first_page(site):
    assert "url=docs/index.html" in (site / "index.html").read_text()
    assert "<h1>ractd_jax" in (site / "docs/index.html").read_text()


@pytest.mark.slow
def test_equations_are_mathematics(site):
    """Each equation of a page is an element that MathJax renders, not text."""
    for page in sorted((ROOT / "docs/methods").glob("*.md")):
        text = page.read_text()
        displayed = len(re.findall(r"^\$\$$", text, re.MULTILINE)) // 2
        html = (site / "docs/methods" / f"{page.stem}.html").read_text()
        assert html.count('<div class="math notranslate nohighlight') == displayed, page
        assert "$$" not in html, page
    assert r"\mathbb{E}" in (site / "docs/methods/teacher.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("page", ENTRIES)
def test_the_reference_has_public_names(site, page):
    html = (site / f"docs/reference/{page}.html").read_text()
    for name in ENTRIES[page]:
        assert f'id="{name}"' in html, name


@pytest.mark.slow
def test_a_link_to_code_leads_to_its_text(site):
    """A file's page shows it, a folder's page lists its files."""
    html = (site / "docs/methods/teacher.html").read_text()
    assert "../../source/ractd_jax/methods/edm.py.html" in html
    code = (site / "source/ractd_jax/methods/edm.py.html").read_text()
    assert "EdmTeacher" in code
    folder = (site / "source/ractd_jax/losses.html").read_text()
    assert 'href="losses/ctm.py.html"' in folder


@pytest.mark.slow
def test_notebooks_are_shown_as_stored(site):
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        html = (site / f"notebooks/{notebook.stem}.html").read_text()
        assert "cell_input" in html
        if "image/png" in notebook.read_text():
            assert "cell_output" in html


SOURCES = {
    "docs/index.md": """# A page

        [code](../part/code.py) [folder](../part) [table](table.md) [data](../data.bin)
        [page of a folder](../read) [lost](../part/none.py)
        """,
    "docs/results/one/table.md": "| score |\n|---|\n| 1.0 ± 0.5 |\n",
    "part/code.py": "answer = 42\n",
    "part/.hidden.py": "",
    "part/deeper/more.py": "",
    "read/README.md": "# Read me\n",
    "docs/table.md": "---\norphan: true\n---\n# A page\n",
    "data.bin": "binary",
}
CONF = """
import sys
sys.path.insert(0, {extensions!r})
extensions = ["myst_parser", "repository_links"]
root_doc = "docs/index"
html_theme = "basic"
"""


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(inspect.cleandoc(text) + "\n")
    return folder


def test_links_to_files_and_folders_lead_to_pages_that_show_them(tmp_path):
    """One that leads nowhere stays a warning."""
    source = write(tmp_path / "source", SOURCES)
    conf = CONF.format(extensions=str(ROOT / "docs/_ext"))
    (source / "conf.py").write_text(conf)
    command = [sys.executable, "-m", "sphinx", "-q", source, tmp_path / "html"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "'../part/none.py'" in done.stderr
    page = (tmp_path / "html/docs/index.html").read_text()
    found = re.findall(r'internal"? (?:download="" )?href="([^"]*)"', page)
    assert found[:3] == [
        "../source/part/code.py.html",
        "../source/part.html",
        "table.html",
    ]
    assert re.fullmatch(r"\.\./_downloads/\w+/data\.bin", found[3])
    assert found[4] == "../read/README.html"
    assert "42" in (tmp_path / "html/source/part/code.py.html").read_text()
    folder = (tmp_path / "html/source/part.html").read_text()
    assert 'href="part/code.py.html"' in folder
    assert "deeper/" in folder
    assert "hidden" not in folder
    table = (tmp_path / "html/docs/results/one/table.html").read_text()
    assert "<h1>One" in table
    assert "1.0\u00a0±\u00a00.5" in table


PAGES = {
    "index.html": """
        <h1 id="here">A page</h1>
        <a href="sub/other.html#there">good</a> <a href="#here">good</a>
        <a href="https://example.org/none#x">not fetched</a> <img src="a%20b.png">
        <a href="sub/other.html#elsewhere">no such anchor</a>
        <a href="#nowhere">no such anchor</a>
        <img src="missing.png">
        <a href="../outside.html">outside</a>
        """,
    "sub/other.html": '<a name="there"></a><link href="../style.css">',
    "a b.png": "",
}


def test_the_checker_finds_what_is_broken(tmp_path):
    site = tmp_path / "site"
    (tmp_path / "outside.html").touch()
    write(site, PAGES)
    assert broken_links(site) == [
        "index.html: sub/other.html#elsewhere, no such anchor",
        "index.html: #nowhere, no such anchor",
        "index.html: missing.png, no such file",
        "index.html: ../outside.html, outside of the site",
        "sub/other.html: ../style.css, no such file",
    ]
