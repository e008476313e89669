"""Trees of sysroots, made as the step makes them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from scratch_image.fs.root import Root
from scratch_image.sysroot import sysroot
from scratch_image.sysroot.origin import Origin
from tars import member

LOADER = member("lib64/ld-linux-x86-64.so.2")


def make(
    origin: Origin, tree: bytes, *sources: bytes, root: Root | None = None
) -> sysroot.UnpackedTree:
    """Make the tree, and write what belongs to it, as the step does."""
    with sysroot.unpacked_tree(origin, tree, root or Root(), sources) as made:
        for path, text in made.files.items():
            Path(os.fsdecode(path)).write_bytes(text)
    return made


def as_nobody(directory: Path, act: Callable[[], object]) -> None:
    """Let a child process `act` as an ordinary user, who may use `directory`."""
    directory.chmod(0o755)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            act()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
