from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Make a usrmerge system with a program, its data, links and odd files."""
    for directory in ("usr/bin", "usr/lib", "etc/alternatives", "var/log", "data/sub", "run"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "bin").symlink_to("usr/bin")
    for name in ("usr/bin/prog", "usr/lib/libx.so.1.0", "data/a", "data/sub/b", "etc/hosts"):
        (tmp_path / name).write_text(name)
        (tmp_path / name).chmod(0o644)
    (tmp_path / "usr/lib/libx.so.1").symlink_to("libx.so.1.0")
    (tmp_path / "usr/bin/awk").symlink_to("/etc/alternatives/awk")
    (tmp_path / "etc/alternatives/awk").symlink_to("/usr/bin/prog")
    (tmp_path / "data/dangling").symlink_to("nowhere")
    (tmp_path / "usr/bin/twin").hardlink_to(tmp_path / "usr/bin/prog")
    os.mkfifo(tmp_path / "run/fifo")
    return tmp_path
