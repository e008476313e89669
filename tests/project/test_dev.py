"""The script `dev`, wherever the checkout lies."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from lab import PACKAGE

TOP = PACKAGE.parents[2]
AS_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")

PYTHON = """\
#!/bin/sh
setpriv --reuid=nobody --regid=nogroup --clear-groups cat pyproject.toml >/dev/null && echo "$@"
"""
"""Stands for the virtual environment's: tells whether another user reaches the checkout."""


def _checkout(directory: Path) -> Path:
    """Make `directory` look like a checkout in which all is installed."""
    (directory / ".venv/bin").mkdir(parents=True)
    for name in ("dev", "pyproject.toml"):
        shutil.copy(TOP / name, directory / name)
    (directory / ".venv/bin/python").write_text(PYTHON)
    (directory / ".venv/bin/python").chmod(0o755)
    wanted = ".[test]\n" + (TOP / "pyproject.toml").read_text()
    (directory / ".venv/installed").write_text(wanted)
    return directory


def test_checkout_that_cannot_be_written_is_a_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    checkout = _checkout(tmp_path / "checkout")
    checkout.chmod(0o555)
    before = AS_NOBODY if os.geteuid() == 0 else ()

    ran = subprocess.run([*before, checkout / "dev", "test"], capture_output=True, text=True)

    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == (
        f"dev: cannot write to {checkout}: run it as the user who owns it, or in a copy of your own\n"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
@pytest.mark.parametrize("mode", [0o700, 0o755], ids=["closed", "open"])
def test_another_user_reaches_the_checkout(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(0o755)
    checkout = _checkout(tmp_path / "home/checkout")
    checkout.parent.chmod(mode)
    before = set(os.listdir("/var/tmp"))

    ran = subprocess.run([checkout / "dev", "test", "x"], capture_output=True, text=True)

    assert (ran.returncode, ran.stderr) == (0, "")
    *told, last = ran.stdout.splitlines()
    assert last == "-m pytest -n 2 --dist loadfile --no-loadscope-reorder x"
    assert [f"other users cannot reach {checkout}" in line for line in told] == (
        [True] if mode == 0o700 else []
    )
    assert not [name for name in set(os.listdir("/var/tmp")) - before if "scratch_image-" in name]
