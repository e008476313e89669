"""Nodes that a project stages, and directories that cannot be staged."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab import Scons
from project import Project, mistake_line
from scratch_image.scons.staged import StagedNode, StagedNodes


def test_text_holds_all_that_is_staged() -> None:
    one, two = StagedNode("a", 0o600, "app"), StagedNode("b")

    text = StagedNodes({b"/x": one, b"/y": two}).text

    assert text == StagedNodes({b"/y": two, b"/x": one}).text
    others = [{b"/x": two, b"/y": one}, {b"/x": one}, {b"/x": StagedNode("a", 0o600), b"/y": two}]
    assert text not in [StagedNodes(other).text for other in others]


def test_only_nodes_with_a_mode_or_an_owner_are_chosen() -> None:
    chosen = {b"/x": StagedNode("a", mode=0), b"/y": StagedNode("b", owner="app")}

    staged = StagedNodes({**chosen, b"/z": StagedNode("c")})

    assert staged.chosen == chosen
    assert staged.nodes == ["a", "b", "c"]


@pytest.fixture
def project(tmp_path: Path, scons: Scons) -> Project:
    (tmp_path / "hello").write_text("#!/bin/cat\n")
    (tmp_path / "hello").chmod(0o755)
    return Project(tmp_path, scons)


STAGED = "env.ScratchImage('{}', {{'/usr/bin/hello': '{}hello', '/srv': env.Dir('{}')}})\n"


@pytest.mark.parametrize("scons", ["newest"], indirect=True)
def test_directory_that_holds_the_image_is_refused(project: Project) -> None:
    printed = project.run(STAGED.format("build/x", "", "."), "-Q", status=2)

    line = "cannot stage .: the image's own files, as build/x.strace, lie in it; stage another"
    assert line in printed
    assert printed.count("scons: ***") == 1


@pytest.mark.parametrize("scons", ["newest"], indirect=True)
def test_directory_of_sources_and_results_is_refused(project: Project, tmp_path: Path) -> None:
    (tmp_path / "src/site").mkdir(parents=True)
    (tmp_path / "src/site/page").write_text("page\n")
    (tmp_path / "src/SConscript").write_text(
        "Import('env')\n"
        "env.Command('site/made', 'site/page', Copy('$TARGET', '$SOURCE'))\n"
        + STAGED.format("x", "#", "site")
    )
    call = "env.SConscript('src/SConscript', variant_dir='build', duplicate=0, exports=['env'])"

    printed = project.run(call, "-Q", status=2)

    cause = "some of its files are built and others lie in src/site"
    assert f"cannot stage build/site: {cause}; Install all of them into one" in printed


@pytest.mark.parametrize("scons", ["newest"], indirect=True)
def test_directory_of_sources_lies_beside_its_sconscript(project: Project, tmp_path: Path) -> None:
    (tmp_path / "src/site/empty").mkdir(parents=True)
    (tmp_path / "src/SConscript").write_text("Import('env')\n" + STAGED.format("x", "#", "site"))
    call = "env.SConscript('src/SConscript', variant_dir='build', duplicate={}, exports=['env'])"

    for duplicate in (0, 1):
        project.run(call.format(duplicate), "-Q", "build/x.files")
        assert "/srv/empty staged" in (tmp_path / "build/x.files").read_text()


@pytest.mark.parametrize("scons", ["newest"], indirect=True)
def test_directory_alone_is_no_image(project: Project) -> None:
    printed = project.run("env.ScratchImage('x', {'/srv': env.Dir('d')})", "-Q", status=2)

    told = "cannot make an image of nothing: no file is staged; stage the program"
    assert told in mistake_line(printed)
