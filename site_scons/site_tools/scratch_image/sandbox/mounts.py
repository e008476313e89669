"""Mounts, as steps of the sandbox init: overlays, memory, devices and the kernel's trees."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from typing import Any

Step = tuple[Any, ...]
"""A function of `init` and its arguments."""

DEVICES = (b"null", b"zero", b"full", b"random", b"urandom", b"tty")
"""The host's devices that a root has in /dev."""

TERMINALS = b"/dev/pts"
"""Where a root has pseudo-terminals of its own: pts(4)."""

DEVICE_LINKS = {
    b"/dev/ptmx": b"pts/ptmx",
    b"/dev/fd": b"/proc/self/fd",
    b"/dev/stdin": b"/proc/self/fd/0",
    b"/dev/stdout": b"/proc/self/fd/1",
    b"/dev/stderr": b"/proc/self/fd/2",
}


def directory_step(path: bytes, mode: int = 0o755, uid: int = 0, gid: int = 0) -> Step:
    """Return the step that makes a directory."""
    return "make_directory", os.fsdecode(path), mode, uid, gid


def attributes(status: os.stat_result) -> tuple[int, int, int]:
    """Return mode, user and group of `status`, for `directory_step`."""
    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid


def bind_step(source: bytes, target: bytes) -> Step:
    """Return the step that mounts `source` at `target`, read-only."""
    return "bind_read_only", os.fsdecode(source), os.fsdecode(target)


def copy_step(source: bytes, path: bytes, mode: int, uid: int, gid: int) -> Step:
    """Return the step that copies the file `source` to `path`."""
    return "copy_file", os.fsdecode(source), os.fsdecode(path), mode, uid, gid


def hard_link_step(first: bytes, path: bytes) -> Step:
    """Return the step that makes `path` another name of the file `first`."""
    return "make_hard_link", os.fsdecode(first), os.fsdecode(path)


def link_step(path: bytes, text: bytes) -> Step:
    """Return the step that makes a symbolic link."""
    return "make_link", os.fsdecode(path), os.fsdecode(text)


def mount_point_step(source: bytes, path: bytes) -> Step:
    """Return the step that makes `path`: a file to mount `source` on, or the link `source`."""
    if os.path.islink(source):
        return link_step(path, os.readlink(source))
    return "make_file", os.fsdecode(path)


def memory_step(place: bytes, space: int) -> Step:
    """Return the step that mounts a file system of `space` MB of memory at `place`: tmpfs(5).

    A file of 4 KB takes another kilobyte, which is the kernel's.
    """
    options = f"mode=755,size={space}m,nr_inodes={256 * space}"
    return "mount", "tmpfs", os.fsdecode(place), "tmpfs", "nosuid nodev", options


def overlay_step(target: bytes, upper: bytes, work: bytes, *lower: bytes) -> Step:
    """Return the step that mounts an overlay; the first of the `lower` layers is the uppermost."""
    places = [re.sub(rb"([\\,:])", rb"\\\1", path) for path in (upper, work, *lower)]
    options = b"upperdir=%b,workdir=%b,lowerdir=%b,userxattr" % (*places[:2], b":".join(places[2:]))
    return "mount_overlay", os.fsdecode(target), os.fsdecode(options)


def memory_overlay(directory: bytes, place: bytes, space: int) -> Iterator[Step]:
    """Yield steps after which all writes in `directory` go to at most `space` MB of memory.

    `place` is an empty directory elsewhere. The files in `directory` stay as they are.
    """
    yield memory_step(place, space)
    upper, work = place + b"/upper", place + b"/work"
    yield directory_step(upper, *attributes(os.lstat(directory)))
    yield directory_step(work)
    yield overlay_step(directory, upper, work, directory)


def kernel_trees(top: bytes) -> Iterator[Step]:
    """Yield steps that make the kernel's trees and devices in the root `top`."""
    for path, text in DEVICE_LINKS.items():
        yield link_step(top + path, text)
    for name in DEVICES:
        yield "make_file", os.fsdecode(top + b"/dev/" + name)
    yield directory_step(top + TERMINALS)
    yield from kernel_mounts(top)
    yield "mount", "/sys", os.fsdecode(top + b"/sys"), "", "bind rec", ""
    yield "make_read_only", os.fsdecode(top + b"/sys")


def kernel_mounts(root: bytes) -> Iterator[Step]:
    """Yield steps that mount the kernel's trees and devices in `root`, which has their places."""
    yield "mount", "/proc", os.fsdecode(root + b"/proc"), "", "bind rec", ""
    # Device files bound read-only can be written to, but keep mode and owner.
    for path in (*_host_settings(), *(b"/dev/" + name for name in DEVICES)):
        yield bind_step(path, root + path)
    options = "newinstance,ptmxmode=0666,mode=0620"
    yield "mount", "devpts", os.fsdecode(root + TERMINALS), "devpts", "nosuid noexec", options


def _host_settings() -> Iterator[bytes]:
    """Yield the files and directories of /proc that are the host's, not those of a process.

    Root needs no capability to change most of them. Engines have a list, to which kernels add.
    """
    for name in sorted(os.listdir(b"/proc")):
        path = b"/proc/" + name
        if not name.isdigit() and not os.path.islink(path):
            yield path
