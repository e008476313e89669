"""A small file system, for the tests of looks at one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def base(tmp_path: Path) -> bytes:
    """Make a small file system: usrmerge, a chain of links, a loop."""
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/libx.so.1.0").write_text("x")
    (tmp_path / "usr/lib/libx.so.1").symlink_to("libx.so.1.0")
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "abs").symlink_to("/usr/lib/libx.so.1")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere/x")
    return os.fsencode(tmp_path)
