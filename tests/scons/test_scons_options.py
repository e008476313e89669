"""The options of SCons, and a build without an engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from lab import NO_ENGINE, Lab
from project import mistake_line


def _extra(lab: Lab, text: str) -> None:
    lab.write(lab.project / "images/reader/reader.extra", text)


def test_load_without_an_engine_is_an_error_when_asked_for(lab: Lab) -> None:
    assert lab.build().steps == ["IMAGE", "LDD", "LIST", "TAR", "TRACE first", "TRACE second"]
    assert lab.build(".").steps == []

    output = lab.build("build/images/reader/reader.iid", status=2).output

    assert f"cannot reach engine at {NO_ENGINE}: " in mistake_line(output)


def test_archive_without_an_engine_says_how_to_load_it(lab: Lab) -> None:
    output = lab.build().output

    assert (
        f"no engine answers at {NO_ENGINE}: docker load -i build/images/reader/reader.oci.tar"
        in output.splitlines()
    )


def test_dry_run_tells_the_steps_and_does_nothing(lab: Lab) -> None:
    planned = lab.build("-n")

    assert planned.steps == ["IMAGE", "LDD", "LIST", "TAR", "TRACE first", "TRACE second"]
    assert not lab.out(".files").exists()
    assert lab.build().steps == planned.steps


def test_question_is_answered_by_the_status(lab: Lab) -> None:
    lab.build("-q", "images/reader", status=1)
    lab.build()
    lab.build("-q", "images/reader", status=0)
    lab.write(lab.world / "data.txt", "new")
    lab.build("-q", "images/reader", status=1)


def test_clean_takes_all_away(lab: Lab) -> None:
    lab.build()
    lab.build("-c", "images/reader")

    assert list(lab.out("").parent.glob("*")) == []


def test_clean_takes_what_a_killed_build_left(lab: Lab) -> None:
    lab.build()
    for name in (
        ".reader.tar.0123abcd.new",
        "..reader.tar.footprint.0123abcd.new",
        ".reader.tar.lock",
    ):
        (lab.out("").parent / name).write_text("half")

    lab.build("-c", "images/reader")

    assert list(lab.out("").parent.iterdir()) == []


def test_keep_going_builds_what_it_can(lab: Lab) -> None:
    _extra(lab, "relative\n")

    output = lab.build("-k", "images/reader", status=2)

    assert output.steps == ["LDD", "TRACE first", "TRACE second"]


def test_silent_says_nothing(lab: Lab) -> None:
    assert lab.build("-s", "images/reader").output == ""


def test_tree_names_the_footprints(lab: Lab) -> None:
    output = lab.build("--tree=all", "images/reader").output

    assert "footprint of build/images/reader/reader.tar" in output


EXPLAINED = [
    pytest.param(lambda lab: lab.write(lab.world / "data.txt", "new"), "data.txt: content changed",
                 id="content"),
    pytest.param(lambda lab: (lab.world / "data.txt").chmod(0o600),
                 "data.txt: mode or owner changed from 0644 ", id="mode"),
    pytest.param(lambda lab: ((lab.world / "link").unlink(),
                              (lab.world / "link").symlink_to("same2.txt")),
                 "link: link changed from same1.txt to same2.txt", id="link"),
    pytest.param(lambda lab: lab.write(lab.world / "maybe", ""), "maybe: appeared", id="appeared"),
    pytest.param(lambda lab: (lab.world / "only-stat.txt").unlink(), "only-stat.txt: vanished",
                 id="vanished"),
    pytest.param(lambda lab: lab.write(lab.world / "dir/two", ""), "dir: listing changed",
                 id="listing"),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "phrase"), EXPLAINED)
def test_explain_names_the_path_and_how_it_changed(
    lab: Lab, edit: Callable[[Lab], None], phrase: str
) -> None:
    lab.build()
    edit(lab)

    output = lab.build("--debug=explain", "images/reader").output

    assert f"scons: build/images/reader/reader.first.strace: {lab.world}/{phrase}" in output, output
    assert output.count(f"reader.first.strace: {lab.world}/{phrase.split(' ')[0]}") == 1


def test_implicit_cache(lab: Lab) -> None:
    lab.build("--implicit-cache", "images/reader")
    assert lab.build("--implicit-cache", "images/reader").steps == []
    lab.write(lab.world / "data.txt", "new")

    built = lab.build("--implicit-cache", "images/reader")

    assert built.steps == ["IMAGE", "TAR", "TRACE first", "TRACE second"]


def test_interactive_sees_what_changes_between_two_builds(lab: Lab) -> None:
    lab.build()
    commands = f"build images/reader\nshell rm {lab.world}/only-stat.txt\nbuild images/reader\n"
    ran = lab.scons.run(
        lab.project, "--interactive", f"engine={NO_ENGINE}", timeout=60, commands=commands
    )

    assert ran.returncode == 0, ran.stdout
    assert ran.stdout.count("TRACE") == 2, ran.stdout
    assert lab.build().steps == []


@pytest.mark.parametrize("decider", ["timestamp-newer", "timestamp-match", "content-timestamp"])
def test_other_decider_of_the_project(lab: Lab, decider: str) -> None:
    sconstruct = lab.project / "SConstruct"
    sconstruct.write_text(
        sconstruct.read_text().replace("env.Im", f"env.Decider('{decider}')\nenv.Im")
    )
    lab.build()
    assert lab.build().steps == []
    lab.write(lab.world / "dir/two", "")

    assert lab.build().steps == ["TRACE first", "TRACE second"]
    assert lab.build().steps == []


def test_cache_dir_shares_no_trace(lab: Lab, tmp_path: Path) -> None:
    sconstruct = lab.project / "SConstruct"
    sconstruct.write_text(sconstruct.read_text() + f"env.CacheDir('{tmp_path}/cache')\n")
    lab.build()
    lab.write(lab.world / "data.txt", "new")
    copy = tmp_path / "copy"
    Lab.copy_project(lab.project, copy)

    assert len(lab.build(project=copy).steps) == 6


def test_users_line_replaces_ours(lab: Lab) -> None:
    sconstruct = lab.project / "SConstruct"
    sconstruct.write_text(
        sconstruct.read_text().replace("env.Im", "env['LDDCOMSTR'] = 'libraries: $TARGET'\nenv.Im")
    )

    output = lab.build().output

    assert "libraries: build/images/reader/reader.ldd" in output.splitlines()
    assert "LDD  " not in output
