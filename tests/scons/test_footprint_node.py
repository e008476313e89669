"""The parts of SCons that footprints use, on the oldest and the newest one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from lab import NO_ENGINE, PACKAGE, Scons

HEAD = f"""\
DefaultEnvironment(tools=[])
env = Environment(tools=["scratch_image"], toolpath=["{PACKAGE.parent}"], DOCKER_HOST="{NO_ENGINE}")
from scratch_image.scons import footprint_node, footprint
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "data").write_text("data")
    return tmp_path


def _run(directory: Path, scons: Scons, text: str, *arguments: str) -> str:
    (directory / "SConstruct").write_text(HEAD + text)
    ran = scons.run(directory, *arguments, timeout=30)
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


STRACE = "env.Strace('x', '/bin/cat', RUN='cat {}/data')\n"


def test_sconsign_holds_no_class_of_ours(directory: Path, scons: Scons) -> None:
    _run(directory, scons, STRACE.format(directory))

    assert b"scratch_image.scons" not in (directory / ".sconsign.dblite").read_bytes()
    # A project that takes the plugin out can still read its database.
    (directory / "SConstruct").write_text("")
    assert scons.run(directory).returncode == 0


@pytest.mark.parametrize("jobs", ["-j1", "-j8"])
def test_spoilt_footprints_do_not_hang_a_parallel_build(
    directory: Path, scons: Scons, jobs: str
) -> None:
    text = "".join(
        f"env.Strace('x{n}', '/bin/cat', RUN='cat {directory}/data')\n" for n in range(4)
    )
    _run(directory, scons, text, jobs)
    for path in directory.glob(".*.footprint"):
        path.write_bytes(b"\xff\x00 not a footprint")

    assert "TRACE" in _run(directory, scons, text, jobs)
    assert "TRACE" not in _run(directory, scons, text, jobs)


DAMAGES = [
    rb'"acl":{"/a\u0000b":"no"}',
    rb'"acl":{"/\ud800":"no"}',
    rb'"vieW":{"/a":"shown"}',
    rb'"image":{"\udcff":"absent"}',
    rb'"tag":{"x":"absent"}',
    rb'"acl":7',
]


def test_damaged_footprint_makes_no_target_an_error(directory: Path, scons: Scons) -> None:
    calls = "".join(
        f"env.Strace('x{n}', '/bin/cat', RUN='cat {directory}/data')\n" for n in range(len(DAMAGES))
    )
    _run(directory, scons, calls, "-j8")
    for number, damage in enumerate(DAMAGES):
        path = directory / f".x{number}.strace.footprint"
        text = path.read_bytes()
        path.write_bytes(text.replace(b'"states":{', b'"states":{' + damage + b","))
        assert path.read_bytes() != text

    assert _run(directory, scons, calls, "-j8").count("TRACE") == len(DAMAGES)
    assert "TRACE" not in _run(directory, scons, calls, "-j8")


def test_list_that_includes_an_impossible_name_is_one_line(directory: Path, scons: Scons) -> None:
    text = "env.FileList('x', [env.File('x.extra')])\n"
    (directory / "x.extra").write_text("/etc/passwd\n")
    _run(directory, scons, text)
    (directory / "x.extra").write_text("include a\\000b\n")
    (directory / "SConstruct").write_text(HEAD + text)

    ran = scons.run(directory, "-Q", "-j8", timeout=30)

    assert ran.returncode == 2
    assert ran.stdout.startswith("scons: *** [x.files] cannot read extra list x.extra: x.extra:1: ")
    assert ran.stdout.count("\n") == 1


def test_two_scons_at_once_both_work(directory: Path, scons: Scons) -> None:
    (directory / "slow").write_text("#!/bin/sh\nread line <data\nsleep 1\necho $line\n")
    (directory / "slow").chmod(0o755)
    text = f"env.ScratchImage('x', '{directory}/slow', RUNS=[Run('slow', cwd='{directory}')])\n"
    (directory / "SConstruct").write_text(HEAD + "from scratch_image import Run\n" + text)
    builds = [
        subprocess.Popen(
            [*scons.command(), "-Q"],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": scons.path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]

    outputs = [build.communicate(timeout=60)[0] for build in builds]

    assert [build.returncode for build in builds] == [0, 0], outputs
    waits = "TRACE  x (default) waits for another scons that makes it\n"
    assert "".join(outputs).count(waits) == 1
    assert not [path for path in directory.iterdir() if path.suffix in (".new", ".lock")]
    scons.run(directory, "-Q")  # Of two databases of SCons the later one is kept.
    assert "up to date" in scons.run(directory, "-Q").stdout


def test_footprint_that_is_deleted_costs_one_step(directory: Path, scons: Scons) -> None:
    _run(directory, scons, STRACE.format(directory))
    (directory / ".x.strace.footprint").unlink()

    assert "TRACE" in _run(directory, scons, STRACE.format(directory))
    assert "TRACE" not in _run(directory, scons, STRACE.format(directory))


def test_derived_file_that_a_trace_reads_is_built_first(directory: Path, scons: Scons) -> None:
    text = (
        f"env.Strace('x', '/bin/cat', RUN='cat {directory}/made')\n"
        "made = env.Command('made', 'data', Copy('$TARGET', '$SOURCE'))\n"
        "env.Requires('x.strace', made)\n"
    )
    _run(directory, scons, text)
    (directory / "data").write_text("other")

    for target in ("x.strace", "."):
        output = _run(directory, scons, text.replace("env.Requires", "#"), target)
        copied = output.find("Copy(")
        traced = output.find("TRACE")
        assert (0 <= copied < traced) or target == "."
    assert "up to date" in _run(directory, scons, text, "x.strace")


def test_null_build_reads_no_target_and_no_input(directory: Path, scons: Scons) -> None:
    text = "env.ScratchImage('x', '/bin/cat')\n"
    _run(directory, scons, text)

    traced = subprocess.run(
        ["strace", "-f", "-e", "trace=openat", *scons.command(), "-Q"],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": scons.path},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "up to date" in traced.stdout
    assert ".x.tar.footprint" in traced.stderr
    assert "x.tar" not in traced.stderr.replace(".x.tar.footprint", "").replace(
        "x.oci.tar.footprint", ""
    )
    assert "/bin/cat" not in traced.stderr


def test_changed_target_is_seen_by_what_is_made_of_it(directory: Path, scons: Scons) -> None:
    text = "env.ScratchImage('x', '/bin/cat')\n"
    _run(directory, scons, text)
    with (directory / "x.files").open("a") as listed:
        listed.write("dir 0755 0:0 /zzz parent\n")

    output = _run(directory, scons, text)

    assert "TAR" in output
