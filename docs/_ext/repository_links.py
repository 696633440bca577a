"""Links to files and folders of the repository lead to pages that show them.

Pages link to code as ``[ctm.py](../ractd_jax/methods/ctm.py)``. In the site such
a link leads to a page with the file's text, and one to a folder leads to its README or
to a list of its files. Results' tables, which programs write, get a title.
"""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

# Names of the pages: source/ractd_jax/methods/ctm.py.
PREFIX = "source"
LANGUAGES = {".py": "python", ".json": "json", ".sh": "bash", ".toml": "toml"}
# Larger files are named in a folder's list, not shown.
MOST_BYTES = 200_000
KEY = "repository_files"


def is_shown(path: Path) -> bool:
    """Whether a file has a page of its own."""
    return path.suffix in LANGUAGES and path.stat().st_size <= MOST_BYTES


def children(folder: Path) -> list[Path]:
    """What a folder's page lists: first folders, then files, without what is hidden."""
    paths = [path for path in folder.iterdir() if path.name[0] not in "._"]
    paths += folder.glob("__init__.py")
    return sorted(paths, key=lambda path: (path.is_file(), path.name))


def page_of(root: Path, path: Path) -> str:
    return posixpath.join(PREFIX, path.relative_to(root).as_posix())


class RepositoryLinks(SphinxTransform):
    """Points links to files and folders at their pages, and notes which are needed.

    A link that leads nowhere stays as it is, so that MyST warns of it.
    """

    # Before the files to download are collected.
    default_priority = 5

    def apply(self, **kwargs: Any) -> None:
        unresolved = addnodes.pending_xref | addnodes.download_reference
        for node in list(self.document.findall(lambda n: isinstance(n, unresolved))):
            if node.get("reftype") == "myst" and node.get("refdomain") is None:
                self.point(node)

    def point(self, node: nodes.Element) -> None:
        _, file = self.env.relfn2path(node["reftarget"].rstrip("/"), self.env.docname)
        root, path = Path(self.env.srcdir), Path(file)
        if not path.exists() or not path.is_relative_to(root):
            return
        target = self.page(root, path)
        if target is not None:
            here = self.env.docname
            uri = self.app.builder.get_relative_uri(here, target)
            link = nodes.reference("", "", *node.children, internal=True, refuri=uri)
            node.replace_self(link)

    def page(self, root: Path, path: Path) -> str | None:
        """The page that a link to `path` leads to; None: a file to download."""
        if path.is_dir():
            for name in ("index", "README"):
                docname = (path / name).relative_to(root).as_posix()
                if docname in self.env.found_docs:
                    return docname
        elif not is_shown(path):
            return None
        needed = self.env.metadata[self.env.docname].setdefault(KEY, set())
        needed.add(path.relative_to(root).as_posix())
        return page_of(root, path)


def needed_files(app: Sphinx) -> set[Path]:
    """The linked files and folders, and the files that linked folders list."""
    root = Path(app.srcdir)
    linked = {
        root / name
        for metadata in app.env.metadata.values()
        for name in metadata.get(KEY, ())
    }
    listed = {file for path in linked if path.is_dir() for file in children(path)}
    return linked | {file for file in listed if file.is_file() and is_shown(file)}


def folder_body(app: Sphinx, folder: Path, pages: set[Path]) -> str:
    """A list of a folder's files, linked where they have a page."""
    root = Path(app.srcdir)
    here, lines = page_of(root, folder), []
    for path in children(folder):
        name = html.escape(path.name + "/" * path.is_dir())
        docname = path.relative_to(root).with_suffix("").as_posix()
        target = page_of(root, path) if path in pages else None
        if path.suffix in (".md", ".ipynb") and docname in app.env.found_docs:
            target = docname
        if target:
            uri = app.builder.get_relative_uri(here, target)
            name = f'<a class="reference internal" href="{uri}">{name}</a>'
        lines.append(f"<li><code>{name}</code></li>")
    return "<ul>" + "\n".join(lines) + "</ul>"


def source_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Page, context and template of each file and folder that a page links to."""
    root, pages = Path(app.srcdir), needed_files(app)
    for path in sorted(pages):
        if path.is_dir():
            body = folder_body(app, path, pages)
        else:
            block = app.builder.highlighter.highlight_block
            language = LANGUAGES[path.suffix]
            code = block(path.read_text(encoding="utf-8"), language)
            body = f'<div class="highlight-{language} notranslate">{code}</div>'
        title = html.escape(path.relative_to(root).as_posix())
        context = {"title": title, "body": f"<h1><code>{title}</code></h1>{body}"}
        yield page_of(root, path), context, "page.html"


def complete_table(app: Sphinx, docname: str, source: list[str]) -> None:
    """Gives results' tables a title, and keeps a number and its interval together.

    Programs write the tables, without a heading.
    """
    if not docname.startswith("docs/results/"):
        return
    text = re.sub(r"(?<=\d) (±|\.\.) (?=[-\d])", "\u00a0\\1\u00a0", source[0])
    if not text.startswith("# "):
        *_, folder, name = docname.split("/")
        title = folder if name == "table" else name
        text = f"# {title.replace('_', ' ').capitalize()}\n\n{text}"
    source[0] = text


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_transform(RepositoryLinks)
    app.connect("source-read", complete_table)
    app.connect("html-collect-pages", source_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
