"""Tests of init.py, as the program that it is; test_namespaces.py tests its effects."""

from __future__ import annotations

import marshal
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scratch_image.sandbox import init


def _run(
    directory: Path, steps: list[list[object]], *command: str
) -> subprocess.CompletedProcess[str]:
    (directory / "plan").write_bytes(marshal.dumps(steps))
    return subprocess.run(
        [sys.executable, "-I", "-S", init.__file__, str(directory / "plan"), *command],
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        check=False,
    )


def test_command_has_the_environment_of_the_plan(tmp_path: Path) -> None:
    ran = _run(tmp_path, [["set_environment", "A=1=2", "B=\udcff"]], "/usr/bin/env")

    assert (ran.stdout, ran.stderr) == ("A=1=2\nB=\udcff\n", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes its root")
def test_command_is_found_where_there_is_no_python(tmp_path: Path) -> None:
    (tmp_path / "base/bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", tmp_path / "base/bin/sh")
    steps: list[list[object]] = [
        ["change_root", str(tmp_path / "base"), "/new"],
        ["set_environment", "PATH=/none:/bin"],
    ]

    ran = _run(tmp_path, steps, "sh", "-c", "pwd")

    assert (ran.stdout, ran.stderr) == ("/new\n", "")


@pytest.mark.parametrize(
    ("steps", "command", "error"),
    [
        pytest.param([], "/none", "init: /none: No such file or directory\n", id="command"),
        pytest.param([["mount", "/none", "/proc/none", "", "bind", ""]], "/bin/true",
                     "init: /proc/none: ", id="mount"),
        pytest.param([["change_root", "/none", "/"]], "/bin/true",
                     "init: /none: No such file or directory\n", id="root"),
    ],
)  # fmt: skip
def test_failed_step_or_command_is_an_error(
    tmp_path: Path, steps: list[list[object]], command: str, error: str
) -> None:
    ran = _run(tmp_path, steps, command)

    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith(error)
