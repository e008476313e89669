"""Where runs happen: in a root of their own, or in the machine's."""

from __future__ import annotations

from project import NO_PRIVATE_ROOT, Project, mistake_line

VIEW = """
env.ScratchImage("x", "/bin/sh", RUNS=[["sh", "-c", "echo x > {made}"], "sh -c true"], {view})
"""


def test_run_changes_nothing_of_the_machine_unless_it_is_to(project: Project) -> None:
    made = project.directory / "made"

    for view in ("", "TRACE_ROOT='private'"):
        project.run(VIEW.format(made=made, view=view), "x.1.strace")
        assert not made.exists()
    output = project.run(VIEW.format(made=made, view="TRACE_ROOT='plain'"), "x.1.strace")
    assert made.exists()
    assert "trace: " not in output


def test_refused_private_root_is_told_once(project: Project) -> None:
    made = project.directory / "made"

    lines = project.run_without_namespaces(
        VIEW.format(made=made, view=""), "x.1.strace", "x.2.strace"
    ).splitlines()

    assert made.exists()
    [told] = [line for line in lines if line.startswith("trace: ")]
    assert told.startswith(f"trace: runs see and change the machine's own files: {NO_PRIVATE_ROOT}")
    assert told.endswith(", or set TRACE_ROOT=plain")
    assert len(lines) == 3


def test_run_that_fails_in_a_plain_root_is_told_that_it_is_plain(project: Project) -> None:
    sconstruct = "env.ScratchImage('x', '/bin/sh', RUNS=['sh -c \"exit 3\"'])\n"

    lines = project.run_without_namespaces(sconstruct, "x.strace").splitlines()

    assert lines[0].startswith("scons: *** [x.strace] cannot trace run default: ")
    assert lines[0].endswith(
        "; install what it lacks, set TRACE_ROOT=private if that is staged, correct the run, or let "
        "it expect that"
    )
    assert lines[1].startswith(
        f"trace: runs see and change the machine's own files: {NO_PRIVATE_ROOT}"
    )
    assert len(lines) == 2


def test_refused_private_root_is_an_error_where_it_has_to_be(project: Project) -> None:
    made = project.directory / "made"

    sconstruct = VIEW.format(made=made, view="TRACE_ROOT='private'")
    line = mistake_line(project.run_without_namespaces(sconstruct, "x.1.strace"))

    assert not made.exists()
    assert line.startswith(f"scons: *** [x.1.strace] {NO_PRIVATE_ROOT}")
    assert line.endswith(", or set TRACE_ROOT=plain")
