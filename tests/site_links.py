"""Checks the links inside a folder of HTML pages; those to other hosts are skipped."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """What a page refers to, and what can be referred to in it.

    Attributes:
      targets: each ``href`` and ``src``, in order.
      anchors: each ``id``, and the ``name`` of each ``a``.
    """

    def __init__(self, text: str):
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.targets += [given[name] for name in ("href", "src") if given.get(name)]
        self.anchors |= {given[name] for name in ("id",) if given.get(name)}
        if tag == "a" and given.get("name"):
            self.anchors.add(given["name"])


def broken_links(folder: Path) -> list[str]:
    """``page: link, reason`` of each link in a folder's pages that leads nowhere."""
    folder = folder.resolve()
    paths = sorted(folder.rglob("*.html"))
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in paths}
    found = []
    for path, page in pages.items():
        for target in page.targets:
            reason = what_is_wrong(path, target, folder, pages)
            if reason:
                found.append(f"{path.relative_to(folder)}: {target}, {reason}")
    return found


def what_is_wrong(path: Path, target: str, folder: Path, pages: dict) -> str:
    """Why a link of a page leads nowhere; empty where it does."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return "a file of this machine" if parts.scheme == "file" else ""
    file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not file.is_relative_to(folder):
        return "outside of the site"
    if not file.is_file():
        return "no such file"
    if parts.fragment and file in pages:
        anchors = pages[file].anchors
        if unquote(parts.fragment) not in anchors | {"top"}:
            return "no such anchor"
    return ""
