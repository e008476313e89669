"""Hooks of MkDocs: pages of the top directory, and linked files, are pages of the site as well.

The Markdown has links that work in a repository. In the site README.md is the first page, and a
linked file or directory of the project is a page that shows its text.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

TOP = Path(__file__).resolve().parents[1]
TOP_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Pages beside docs/, and their names in the site."""

_BLOCK = re.compile(r"^```.*?^```$|^    [^\n]*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)]*)?\)")


def site_path(path: str) -> str:
    """Return the place in the site of a file, given by its path in the repository."""
    if path in TOP_PAGES:
        return TOP_PAGES[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"source/{path}.md"


def repository_path(path: str) -> str:
    """Return the path in the repository of a page, given by its place in the site."""
    return {page: name for name, page in TOP_PAGES.items()}.get(path, f"docs/{path}")


def links(name: str, text: str) -> set[str]:
    """Return the paths that page `name` of the repository links to."""
    found = (link[1] for link in _LINK.finditer(_BLOCK.sub("", text)))
    return {posixpath.normpath(posixpath.join(posixpath.dirname(name), each)) for each in found}


def source_page(path: str) -> str:
    """Return a page with the text of a file, or of all files of a directory."""
    place = TOP / path
    files = (
        sorted(each for each in place.rglob("*") if each.is_file()) if place.is_dir() else [place]
    )
    parts = [f"# {path}\n"]
    for file in files:
        kind = {".py": "python", ".c": "c"}.get(
            file.suffix, "python" if "SCons" in file.name else "text"
        )
        title = f"## {file.relative_to(place)}\n\n" if place.is_dir() else ""
        parts.append(f"{title}~~~~{kind}\n{file.read_text().rstrip()}\n~~~~\n")
    return "\n".join(parts)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the top directory, and a page for each other file that a page links to."""
    for name, place in TOP_PAGES.items():
        files.append(File.generated(config, place, content=(TOP / name).read_text()))
    names = [repository_path(each.src_uri) for each in files.documentation_pages()]
    linked = {path for name in names for path in links(name, (TOP / name).read_text())}
    for path in sorted(linked):
        place = site_path(path)
        if place.startswith("source/") and (TOP / path).exists():
            page = File.generated(config, place, content=source_page(path))
            page.inclusion = page.inclusion.NOT_IN_NAV
            files.append(page)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point the links of a page to places in the site."""
    here = page.file.src_uri
    if here.startswith("source/"):
        return markdown
    name = repository_path(here)

    def relink(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(name), link[1]))
        place = posixpath.relpath(site_path(path), posixpath.dirname(here) or ".")
        return f"]({place}{link[2] or ''})"

    blocks = [each.group() for each in _BLOCK.finditer(markdown)]
    texts = [_LINK.sub(relink, each) for each in _BLOCK.split(markdown)]
    return "".join(text + block for text, block in zip(texts, [*blocks, ""], strict=True))
