"""The site: built from the pages without a network, each link and anchor leads somewhere."""

from __future__ import annotations

import json
import os
import posixpath
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from lab import PACKAGE

TOP = PACKAGE.parents[2]


class Page(HTMLParser):
    """The links, anchors, loaded resources and paragraphs of a page."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.resources: list[str] = []
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors.add(given.get("id", ""))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in ("script", "img", "iframe") and "src" in given:
            self.resources.append(given["src"])
        elif tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            self.resources.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, where any request to a network fails."""
    directory = tmp_path_factory.mktemp("site")
    closed = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    ran = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", directory],
        cwd=TOP,
        env={**os.environ, **closed, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return directory


@pytest.fixture(scope="module")
def built(site: Path) -> dict[str, Page]:
    return {str(file.relative_to(site)): Page(file) for file in site.rglob("*.html")}


def test_links_and_anchors_lead_somewhere(site: Path, built: dict[str, Page]) -> None:
    broken = [
        f"{name}: {link}"
        for name, page in built.items()
        if name != "404.html"
        for link in page.links
        if not re.match(r"\w+:", link) and not _leads_somewhere(site, built, name, link)
    ]

    assert broken == []


def _leads_somewhere(site: Path, built: dict[str, Page], name: str, link: str) -> bool:
    file, _, anchor = unquote(link).partition("#")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(name), file)) if file else name
    if (site / path).is_dir():
        path = posixpath.join(path, "index.html") if path != "." else "index.html"
    if not anchor:
        return (site / path).is_file()
    return path in built and anchor in built[path].anchors


def test_pages_load_nothing_from_a_network(built: dict[str, Page]) -> None:
    loaded = {each for page in built.values() for each in page.resources}

    assert {each for each in loaded if re.match(r"(\w+:)?//", each)} == set()


def test_each_page_is_in_the_site(built: dict[str, Page]) -> None:
    pages = {str(page.relative_to(TOP / "docs")) for page in (TOP / "docs").rglob("*.md")}
    expected = {page.replace(".md", ".html") for page in pages}

    assert expected | {"index.html", "contributing.html", "changelog.html"} <= built.keys()


def test_lists_of_pages_are_lists(site: Path) -> None:
    """A list needs an empty line before it: GitHub does without, the site does not."""
    joined = [
        f"{file.relative_to(site)}: {found}"
        for file in site.rglob("*.html")
        for found in re.findall(r"<p>(?:(?!</p>).)*?\n(?:[*-]|\d+\.) .*", file.read_text())
    ]

    assert joined == []


def test_search_finds_messages(site: Path) -> None:
    entries = json.loads((site / "search/search_index.json").read_text())["docs"]

    found = [each["location"] for each in entries if "no file is staged" in each["text"]]

    assert any(each.startswith("troubleshooting.html#") for each in found)
