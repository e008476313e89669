"""Tests of mounts.py: the kernel's trees and devices in a private root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from programs import (
    traced,
)

WRITABLE = "find /proc -path '/proc/[0-9]*' -prune -o -type f -perm /222 -writable -print 2>&-; :"


def test_host_settings_in_proc_cannot_be_written(site: Path) -> None:
    assert traced(b"/bin/sh", "-c", WRITABLE, private=True).stdout == b""


DRESSED = """
for path in /dev/null /dev/tty /dev/urandom /proc/[!0-9]*; do
    [ -L $path ] || ! chmod $(stat -c %a $path) $path || echo $path
done 2>&-
echo x >/dev/null
"""


@pytest.mark.dangerous
def test_host_files_keep_mode_and_owner(site: Path) -> None:
    assert traced(b"/bin/sh", "-c", DRESSED, private=True).stdout == b""


def test_private_run_has_terminals_of_its_own(site: Path) -> None:
    script = "import os, pty; pty.spawn(['sh', '-c', 'tty; echo hello >/dev/tty'])"
    before = os.listdir("/dev/pts")

    found = traced(b"/usr/bin/python3", "-c", script, private=True)

    assert found.stdout.split() == [b"/dev/pts/0", b"hello"]
    assert os.listdir("/dev/pts") == before
    assert not [use for use in found.record.uses if use.path.startswith(b"/dev")]
