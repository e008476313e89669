from __future__ import annotations

import os
from pathlib import Path

import pytest
from packages import copy_programs
from scratch_image.errors import InputError
from scratch_image.fs.overlay import Overlay
from scratch_image.fs.root import Root, WatchedFileSystem
from scratch_image.inspect import debug_tools


def _view(tree: Path) -> Overlay:
    return Overlay(Root(WatchedFileSystem(os.fsencode(tree))), b"/nonexistent")


def test_tools_that_are_not_installed_are_left_out(tmp_path: Path) -> None:
    copy_programs(tmp_path, ["/bin/busybox", "/usr/bin/strace"])

    found = debug_tools.collect(_view(tmp_path))

    assert (found.names, found.missing) == (("busybox", "strace"), ("gdb",))
    entries = {entry.path: entry for entry in found.entries}
    assert entries[b"/debug/bin/ls"].target == b"busybox"
    assert entries[b"/debug/libexec/strace"].source == b"/usr/bin/strace"
    assert b"/debug/lib/libc.so.6" in entries
    assert entries[b"/debug/bin/strace"].text == (
        b"#!/debug/bin/busybox sh\nexec /debug/lib/ld-linux-x86-64.so.2 --library-path /debug/lib "
        b'/debug/libexec/strace "$@"\n'
    )
    assert all(path == b"/debug" or path.startswith(b"/debug/") for path in entries)


@pytest.mark.parametrize("program", ["", "/bin/sh"])
def test_without_a_static_busybox_there_are_no_tools(tmp_path: Path, program: str) -> None:
    copy_programs(tmp_path, ["/bin/sh"])
    if program:
        (tmp_path / "bin/busybox").symlink_to("sh")

    with pytest.raises(InputError) as error:
        debug_tools.collect(_view(tmp_path))

    assert str(error.value) == (
        "cannot add debug tools: there is no static /bin/busybox; apt-get install busybox-static"
    )


def test_tools_are_for_images_of_their_machine() -> None:
    debug_tools.require_machine(62)

    with pytest.raises(InputError) as error:
        debug_tools.require_machine(183)

    assert str(error.value) == (
        "cannot add debug tools: the image is for aarch64, and this machine has tools for x86_64; "
        "build it on a machine with aarch64"
    )
