"""Tests of strace_tool.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from programs import (
    old_strace,
    strace_with,
    traced,
)
from scratch_image.errors import TraceError
from scratch_image.fs.root import Root
from scratch_image.sandbox import process
from scratch_image.sandbox.run import Run
from scratch_image.trace import strace_tool, tracer


@pytest.mark.parametrize("tool", [None, b"/usr/bin/taskset"])
def test_pinning_needs_no_taskset(
    tool: bytes | None, programs: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = process.find
    monkeypatch.setattr(process, "find", lambda name: tool if name == b"taskset" else find(name))
    check = f"test $(nproc) {'=' if tool else '-ge'} 1"
    traced(b"/bin/sh", "-c", check)


def test_no_strace(programs: Path) -> None:
    with pytest.raises(TraceError) as caught:
        tracer.trace(Run("demo", (b"x",)), b"/bin/true", Root(), b"no-strace")
    assert str(caught.value) == (
        "cannot trace run demo: there is no no-strace; apt-get install strace, or correct STRACE"
    )


@pytest.mark.parametrize(
    ("version", "cause"),
    [
        pytest.param(
            "4.26",
            "is strace 4.26, which does not know all calls; install 5.10 or newer",
            id="too old",
        ),
        pytest.param(
            "none",
            "does not print a version as strace does; apt-get install strace, or correct STRACE",
            id="another program",
        ),
    ],
)
def test_unfit_strace(version: str, cause: str, tmp_path: Path) -> None:
    tool = old_strace(tmp_path, version)
    with pytest.raises(TraceError) as caught:
        tracer.trace(Run("demo", (b"x",)), b"/bin/true", Root(), tool)
    assert str(caught.value) == f"cannot trace run demo: {tmp_path}/strace {cause}"


def test_forbidden_ptrace(programs: Path) -> None:
    tool = os.fsencode(programs / "noptrace")
    with pytest.raises(TraceError) as caught:
        tracer.trace(Run("demo", (b"x",)), b"/bin/true", Root(), tool)
    assert str(caught.value) == (
        "cannot trace run demo: the kernel forbids ptrace; in Docker give --cap-add SYS_PTRACE (and, "
        "before Docker 19.03, --security-opt seccomp=unconfined), on a host set "
        "kernel.yama.ptrace_scope=0"
    )


def test_strace_that_fails(site: Path) -> None:
    with pytest.raises(TraceError) as caught:
        tracer.trace(Run("demo", (b"x",)), b"/bin/true", Root(), strace_with(site, "--nonsense"))
    assert str(caught.value).startswith("cannot trace run demo: strace failed and said ")
    assert "nonsense" in str(caught.value)
    assert str(caught.value).endswith("; install another release of strace")


@pytest.mark.parametrize("private", [False, True])
def test_logs_that_are_too_large(
    site: Path, monkeypatch: pytest.MonkeyPatch, *, private: bool
) -> None:
    monkeypatch.setattr(strace_tool, "_MOST_LOG", 1000)

    with pytest.raises(TraceError) as caught:
        traced(b"/bin/ls", private=private, cwd=b"/")

    assert str(caught.value) == "cannot trace run demo: its log has 0 MB; let it do less"
