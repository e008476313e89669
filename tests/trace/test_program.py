"""Tests of program.py: programs that cannot run, and those for another processor."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import arm64
import pytest
from programs import (
    settle_clock,
    trace_error,
)
from scratch_image.errors import TraceError
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem
from scratch_image.sandbox import process
from scratch_image.sandbox.run import Run
from scratch_image.trace import tracer
from scratch_image.trace.record import Use


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        pytest.param("none", "there is no {}/none; build or install it", id="missing"),
        pytest.param("d/none/x", "there is no {}/d/none; build or install it", id="missing above"),
        pytest.param("dangling", "there is no {}/none; build or install it", id="dangling link"),
        pytest.param(
            "d",
            "{}/d is no executable file; name the program, and make it executable",
            id="directory",
        ),
        pytest.param(
            "d/b.txt",
            "{}/d/b.txt is no executable file; name the program, and make it executable",
            id="not executable",
        ),
        pytest.param(
            "broken",
            "{}/broken cannot be executed: Exec format error; build it for this machine, or "
            "install its interpreter",
            id="foreign",
        ),
    ],
)
def test_unfit_programs(name: str, cause: str, site: Path) -> None:
    (site / "broken").write_bytes(b"\x7fELF garbage")
    (site / "broken").chmod(0o755)
    (site / "dangling").symlink_to("none")
    settle_clock()
    assert trace_error(site / name) == f"cannot trace run demo: {cause.format(site)}"


def test_a_program_without_its_loader(tmp_path: Path) -> None:
    command = ["gcc", "-x", "c", "-", "-o", str(tmp_path / "p"), "-Wl,--dynamic-linker=/no/ld.so"]
    subprocess.run(command, input=b"int main(void) { return 0; }", check=True)
    assert trace_error(tmp_path / "p") == (
        f"cannot trace run demo: {tmp_path}/p needs /no/ld.so, and there is no such file; "
        "install it, or build the program for the loader of its root"
    )


def test_a_program_for_another_machine(tmp_path: Path) -> None:
    program = arm64.make_hello(tmp_path / "hello")
    assert trace_error(program) == (
        f"cannot trace run demo: {program} is a program for aarch64 and this machine is x86_64; "
        "apt-get install qemu-user-static and allow private roots, or set RUNS=[] and list its "
        "files by extra lists"
    )


def test_another_root_cannot_be_run_in(tmp_path: Path) -> None:
    with pytest.raises(TraceError) as caught:
        tracer.trace(
            Run("demo", (b"x",)), b"/bin/true", Root(WatchedFileSystem(os.fsencode(tmp_path)))
        )
    assert str(caught.value) == (
        f"cannot trace run demo: its root is {tmp_path}, and this run would see the machine's own; "
        "allow private roots, or set RUNS=[] and list its files"
    )


def test_private_run_of_a_program_for_another_machine(tmp_path: Path) -> None:
    root = Root(WatchedFileSystem(os.fsencode(arm64.make_base(tmp_path / "base"))))
    time.sleep(0.02)

    found = tracer.trace(Run("demo", (b"hello",)), b"/usr/bin/hello", root, private=True)

    assert found.stdout == b"hello\n"
    uses = {use.path for use in found.record.uses if use.kind is not Use.ABSENT}
    assert uses == {b"/", b"/lib/ld-linux-aarch64.so.1", b"/lib/libc.so.6", b"/usr/bin/hello"}
    assert root.looked >= {(path, Aspect.CONTENT) for path in uses - {b"/"}}


def test_emulated_program_that_ends_otherwise(tmp_path: Path) -> None:
    root = Root(WatchedFileSystem(os.fsencode(arm64.make_base(tmp_path / "base"))))

    with pytest.raises(TraceError) as caught:
        tracer.trace(Run("demo", (b"hello",), status=3), b"/usr/bin/hello", root, private=True)

    assert "it ended with status 0, not with status 3" in str(caught.value)


def test_emulated_programs_start_others(tmp_path: Path) -> None:
    base = arm64.make_base(tmp_path / "base")
    arm64.make_starter(base / "usr/bin/starter")
    (base / "usr/bin/script").write_text("#!/usr/bin/starter\n")
    (base / "usr/bin/script").chmod(0o755)
    time.sleep(0.02)

    found = tracer.trace(
        Run("demo", (b"script",)),
        b"/usr/bin/script",
        Root(WatchedFileSystem(os.fsencode(base))),
        private=True,
    )

    assert found.stdout == b"hello\n"
    executed = {os.path.basename(use.path) for use in found.record.uses if use.kind is Use.EXEC}
    assert executed == {b"script", b"starter", b"hello", b"ld-linux-aarch64.so.1"}


def test_emulator_that_the_kernel_does_not_know(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = Root(WatchedFileSystem(os.fsencode(arm64.make_base(tmp_path / "base"))))
    find = process.find
    # A missing file cannot be registered, as no file can before Linux 6.7.
    monkeypatch.setattr(
        process, "find", lambda name: b"/nonexistent" if name[:5] == b"qemu-" else find(name)
    )

    with pytest.raises(TraceError) as caught:
        tracer.trace(Run("demo", (b"hello",)), b"/usr/bin/hello", root, private=True)

    assert str(caught.value) == (
        "cannot trace run demo: /usr/bin/hello cannot be executed: Exec format error; use Linux "
        "6.7 or newer, or have /nonexistent registered, as by binfmt-support"
    )
