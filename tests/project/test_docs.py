"""The pages say what is so: messages and variables are complete, and all that is shown happens."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import sys
from pathlib import Path

import messages
import pages
import pytest
from lab import NO_ENGINE, PACKAGE

TOP = PACKAGE.parents[2]
DOCS = TOP / "docs"
PAGES = [TOP / "README.md", *sorted(DOCS.rglob("*.md"))]


def _name(page: Path) -> str:
    return str(page.relative_to(TOP))


# Troubleshooting


def _entries() -> list[str]:
    text = (DOCS / "troubleshooting.md").read_text()
    return re.findall(r"^- `(.+)`$", text, re.MULTILINE)


def test_every_message_is_in_troubleshooting() -> None:
    entries = _entries()

    missing = {said for said in messages.messages() if not any(said in each for each in entries)}

    assert missing == set()


def test_troubleshooting_has_no_message_that_is_gone() -> None:
    known = messages.messages() | messages.literals()
    entries = _entries()

    joined = {each for each in entries if set(each.split("; ", 1)) <= known}

    assert set(entries) - known - joined == set()
    assert len(entries) == len(set(entries))


# Reference


def test_reference_is_as_the_code_is() -> None:
    script = [sys.executable, str(DOCS / "reference.py")]

    written = subprocess.run(script, capture_output=True, text=True, check=True).stdout

    assert (DOCS / "reference.md").read_text() == written, "docs/reference.py > docs/reference.md"


ADDED = """\
DefaultEnvironment(tools=[])
env = Environment(tools=[])
known = {method.name for method in env.added_methods}
env.Tool("scratch_image", toolpath=[ARGUMENTS["tool"]])
print(*{method.name for method in env.added_methods} - known, *env["BUILDERS"])
"""


def test_reference_has_all_that_the_tool_adds(tmp_path: Path) -> None:
    (tmp_path / "SConstruct").write_text(ADDED)
    command = [sys.executable, "-m", "SCons", "-Q", "-q", f"tool={PACKAGE.parent}"]

    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    titles = re.findall(r"^### (?:env\.)?(\w+)$", (DOCS / "reference.md").read_text(), re.MULTILINE)
    methods = {"Run", "Suite", "HealthCheck", "Staged"}
    assert set(titles) - methods == set(ran.stdout.splitlines()[0].split())


# Pages


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        file, _, title = target.partition("#")
        if not re.match("https?:", file):
            leads_to = page.parent / file if file else page
            assert leads_to.exists(), target
            assert not title or title in _titles(leads_to), target


def _titles(page: Path) -> set[str]:
    lines = re.findall("^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.fixture
def reader(tmp_path: Path, engine: str, hub: str) -> dict[str, str]:
    """Give the environment of somebody who reads a page, with an engine and a registry."""
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    path = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    known = {"PATH": path, "HOME": str(tmp_path), "LC_ALL": "C.UTF-8", "DOCKER_HOST": engine}
    return {**known, "CHECKOUT": str(TOP), "REGISTRY": hub}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_console_blocks_print_what_pages_show(
    page: Path, reader: dict[str, str], tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    if page.name not in ("README.md", "tutorial.md"):  # their commands copy it
        shutil.copytree(PACKAGE, project / "site_scons/site_tools/scratch_image")

    for act in pages.read(page):
        act.play(project, reader)


@pytest.mark.parametrize(
    ("shown", "printed", "alike"),
    [
        pytest.param("LIST   x    43 paths, 0.10 s", "LIST x 45 paths, 9.99 s", True, id="near"),
        pytest.param("LIST   x    165 paths, 0.10 s", "LIST x 43 paths, 0.10 s", False, id="far"),
        pytest.param("TAR    x    6.8 MB, 0.05 s", "TAR x 4.2 MB, 0.05 s", False, id="size"),
        pytest.param("TAR    x    4.2 MB, 0.05 s", "TAR x 4.2 kB, 0.05 s", False, id="unit"),
        pytest.param("a\n...\n7 files", "a\n1\n2\n7 files", True, id="left out"),
        pytest.param("libc6 2.36-9+deb12u14", "libc6 2.36-9+deb12u1", True, id="version"),
        pytest.param("x sha256:12ab…", "x sha256:34cd…", True, id="digest"),
    ],
)
def test_numbers_on_pages_are_near_the_real_ones(shown: str, printed: str, alike: bool) -> None:
    assert pages.is_alike(shown, printed) is alike


def test_recording_shows_the_commands_of_readme() -> None:
    """docs/recording.py writes it again."""
    drawn = re.findall("<text[^>]*>(.*)</text>", (DOCS / "recording.svg").read_text())
    lines = [html.unescape(re.sub("<[^>]+>", "", line)) for line in drawn]
    acts = [act for act in pages.read(TOP / "README.md") if isinstance(act, pages.Command)]
    shown = [f"$ {act.line}\n{act.output}" for act in acts]
    first = next(number for number, text in enumerate(shown) if text.startswith("$ scons"))

    expected = "".join(shown[first:]).splitlines()[: len(lines)]
    assert pages.is_alike("\n".join(expected), "\n".join(lines))


@pytest.mark.parametrize("page", sorted((DOCS / "howto").iterdir()), ids=_name)
def test_every_howto_page_is_carried_out(page: Path) -> None:
    assert any(isinstance(act, pages.Command) for act in pages.read(page))


def test_what_readme_says_of_this_repository_is_done_in_ci() -> None:
    shown = re.findall(r"^    (\./dev \w+)$", (TOP / "README.md").read_text(), re.MULTILINE)

    assert len(shown) == 2
    for command in shown:
        assert command in (TOP / ".ci/run").read_text()
