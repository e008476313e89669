"""The root of a run: the layers of an image, unpacked, with the files that a runtime adds."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ..errors import SandboxError
from ..fs.paths import KERNEL_TREES, is_under, join, show
from ..image.compression import decompress, suffix_of
from ..sandbox.namespaces import (
    DEVICE_LINKS,
    DEVICES,
    TERMINALS,
    Emulator,
    Sandbox,
    kernel_mounts,
    memory_overlay,
)
from ..sandbox.run import Run
from .unpack import Unpacking, remove

_DIRECTORIES = {**KERNEL_TREES, TERMINALS: 0o755}
_FILES = {
    b"/etc/hosts": b"127.0.0.1\tlocalhost\n::1\tlocalhost\n",
    b"/etc/hostname": b"localhost\n",
    b"/etc/resolv.conf": b"",
    **{b"/dev/" + name: b"" for name in DEVICES},
}
_LINKS = {**DEVICE_LINKS, b"/etc/mtab": b"/proc/mounts"}
"""Paths that a container's runtime adds to every container."""

_ALONE = Run("", ())


@contextmanager
def unpacked_layers(
    layers: Iterable[bytes], run: Run = _ALONE, emulator: Emulator | None = None
) -> Iterator[Sandbox]:
    """Unpack the layer files `layers` (hostile), the lowest first; remove all of it afterwards.

    The directory where `run` starts is made where it is missing, as engines do. Files that `run`
    writes go to memory: the directory stays as it was unpacked.
    Times and modes are those of the layers; owners, too, where root unpacks. For other users all
    files belong to them, who are root inside. SandboxError for a file that is not a layer, or has
    members that our images never have; OSError when it cannot be written. Nothing outside of the
    directory is written to.
    """
    directory = os.path.realpath(os.fsencode(tempfile.mkdtemp(prefix="scratch_image-")))
    try:
        unpacking = Unpacking(join(directory, b"root"))
        for path in layers:
            with _unpack_errors(f"layer {show(path)}"), open(path, "rb", buffering=0) as blob:
                unpacking.unpack(decompress(blob, suffix_of(path)))
        with _unpack_errors("image"):
            _finish(unpacking, run.cwd)
        top, memory = unpacking.directory, join(directory, b"memory")
        os.mkdir(memory)
        plan = (*memory_overlay(top, memory, run.limits.space), *kernel_mounts(top))
        yield Sandbox(top, plan, directory, run.network, emulator)
    finally:
        remove(directory)


@contextmanager
def _unpack_errors(what: str) -> Iterator[None]:
    """Turn errors about members of a tar, or about a full disk, into the line for the user."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        place = os.path.abspath(tempfile.gettempdir())
        raise SandboxError(
            f"unpack {what} below {place}",
            str(error.strerror),
            "free some space there, or let TMPDIR name another directory",
        ) from error
    except (ValueError, OverflowError) as error:
        raise SandboxError(
            f"unpack {what}", str(error), "build it again, of files, links and directories only"
        ) from error


def _finish(unpacking: Unpacking, workdir: bytes) -> None:
    """Add the files of a container's runtime, and give the directories their modes."""
    for path, mode in {**_DIRECTORIES, workdir: 0o755}.items():
        if path not in unpacking:
            unpacking.make_directory(path, mode)
        elif path in _DIRECTORIES and unpacking.kind(path) != stat.S_IFDIR:
            raise ValueError(f"{show(path)} is not a directory")
    for path, content in _FILES.items():
        if path not in unpacking:
            unpacking.make_file(path, [content])
            os.chmod(unpacking.directory + path, 0o644)
        elif is_under(path, b"/dev") and unpacking.kind(path) != stat.S_IFREG:
            raise ValueError(f"{show(path)} is not a file")
    for path, text in _LINKS.items():
        if path not in unpacking:
            unpacking.make_link(path, text)
    unpacking.finish()
