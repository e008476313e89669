"""A private view of a root for a run: its writes go to memory, and homes are hidden.

It is made of overlays, whose upper layers are in memory:
https://docs.kernel.org/filesystems/overlayfs.html.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress

from ..fs.file_system import FileSystem
from ..fs.lookup import FileKind
from ..fs.paths import KERNEL_TREES, is_under, join, parents, unescape
from .namespaces import (
    Emulator,
    Sandbox,
    Step,
    attributes,
    bind_step,
    copy_step,
    directory_step,
    hard_link_step,
    kernel_trees,
    link_step,
    memory_step,
    mount_point_step,
    needs_users,
    overlay_step,
)
from .run import Run

HIDDEN = {b"/home": 0o755, b"/root": 0o700, b"/tmp": 0o1777}
"""Directories that a view has without their files, with their modes: homes, where secrets lie, and
what changes while a run runs."""

_OWN = {**KERNEL_TREES, **HIDDEN}
"""These, and the kernel's."""

_TEMPORARY = b"/var/tmp"
"""Where every user may write, below a directory of root."""


def private_view(
    files: FileSystem, directory: bytes, run: Run, emulator: Emulator | None = None
) -> Sandbox:
    """Return a private view of `files` for `run`.

    `files` hides the directories `HIDDEN`. Mounts of the host are there like its directories.
    `directory` is a private one, without links in its path. A suite also has the project's
    directory, at its own place; its writes there go to memory as well.
    """
    # These mounts are seen in the new namespaces only.
    place = join(directory, b"mount")
    os.mkdir(place)
    view = _View(place, files, run, has_users=needs_users(emulator))
    return Sandbox(join(place, b"root"), tuple(view.steps()), directory, run.network, emulator)


def _host_mounts() -> list[bytes]:
    """Return where file systems are mounted on this host: proc_pid_mountinfo(5)."""
    with open("/proc/self/mountinfo", "rb") as stream:
        return sorted({unescape(line.split(b" ")[4]) for line in stream})


class _View:
    """Plans overlays that together are a base, and the other mounts of a root."""

    def __init__(self, place: bytes, files: FileSystem, run: Run, *, has_users: bool) -> None:
        """Plan at `place`; `has_users` means that `run` gets a user namespace.

        There no overlay may cover a directory with other mounts below it. Nor does an overlay copy
        a directory of another user for a write below it: so those on the way to places of writes
        lie in the uppermost lower layer, where they are the user's own.
        """
        mounts = _host_mounts() if files.base == b"/" else []
        self._place = place
        self._top = join(place, b"root")
        self._files = files
        is_elsewhere = files.base != b"/" or files.own in files.shown
        self._project = files.own if run.is_suite and is_elsewhere else b""
        shown = {path: place for path, place in files.shown.items() if path != files.own}
        self._placed = {**files.staged, **shown}
        self._trees = [path for path in files.staged if files.staging.is_tree(path)]
        self._copies: dict[bytes, bytes] = {}
        """Places of files that are copied because their mode or owner is another on the host."""
        self._inodes: dict[tuple[int, int, tuple[int, int, int]], bytes] = {}
        self._copied_bytes = 0
        self._mounts = [path for path in mounts if path != b"/" and not is_under(path, *_OWN)]
        self._space = run.limits.space
        self._overlays = 0
        self._has_users = has_users
        self._written = [each for each in (_TEMPORARY, run.cwd) if has_users and self._has(each)]

    def _has(self, directory: bytes) -> bool:
        """Return whether the base shows `directory`, by a path without links."""
        found = [self._files.status(path) for path in (*parents(directory), directory)]
        plain = all(status is not None and status.kind is FileKind.DIR for status in found)
        return plain and directory != b"/" and not self._files.hides(directory)

    def steps(self) -> Iterator[Step]:
        """Yield the steps that make the view."""
        top = self._top
        staging = [*self._stage()]
        yield memory_step(self._place, self._space - (-self._copied_bytes >> 20))
        yield from staging
        yield directory_step(top)
        yield from self._entries(b"/")
        if not self._has_users:
            for path in self._mounts:
                yield from self._mount(path)
        for path, mode in _OWN.items():
            yield directory_step(top + path, mode)
        for number, path in enumerate(sorted({*self._files.hidden} - {*_OWN})):
            # No memory of its own: all writes share one limit.
            hiding = self._place + b"/hiding%d" % number
            yield directory_step(hiding)
            yield "mount", os.fsdecode(hiding), os.fsdecode(top + path), "", "bind", ""
        yield from kernel_trees(top)
        if self._project:
            yield from self._directory(self._project, os.lstat(self._project))
        for path, source in sorted(self._placed.items()):
            # In an overlay it is there already; its directory may be closed to the user.
            if path in self._trees:
                yield directory_step(top + path)
                yield from self._overlay(path, *self._attributes(path))
            else:
                yield mount_point_step(source, top + path)
                if not os.path.islink(source):
                    yield bind_step(self._copies.get(path, source), top + path)

    def _stage(self) -> Iterator[Step]:
        """Yield steps that make a tree of empty files, the uppermost lower layer of all overlays.

        Links are whole there, and so are files that have another mode or owner on the host.
        """
        above = {above for path in (*self._placed, *self._written) for above in parents(path)}
        above.update(self._written, self._trees)
        for path in sorted(above):
            owned = self._attributes(path) if self._files.status(path) else ()
            yield directory_step(self._staged_path(path), *owned)
        for path, source in sorted(self._placed.items()):
            if path in self._trees:
                yield from self._stage_below(path)
            elif copied := self._copy(path, source):
                self._copies[path] = self._staged_path(path)
                yield copied
            else:
                yield mount_point_step(source, self._staged_path(path))

    def _stage_below(self, directory: bytes) -> Iterator[Step]:
        """Yield steps for all in a staged directory that has another mode or owner on the host."""
        for name in self._files.listing(directory):
            path = join(directory, name)
            status = self._files.status(path)
            if status is None or path in self._placed:
                continue
            source = self._files.host_path(path)
            if status.kind is FileKind.DIR:
                if self._differs(path, source):
                    yield directory_step(self._staged_path(path), *self._attributes(path))
                yield from self._stage_below(path)
            elif copied := self._copy(path, source):
                yield copied

    def _copy(self, path: bytes, source: bytes) -> Step | None:
        """Return the step that copies the file `source`; None if it can be seen as it is."""
        found = os.lstat(source)
        if not stat.S_ISREG(found.st_mode) or not self._differs(path, source):
            return None
        attributes = self._attributes(path)
        target, key = self._staged_path(path), (found.st_dev, found.st_ino, attributes)
        first = self._inodes.setdefault(key, target)
        if first != target:
            return hard_link_step(first, target)
        self._copied_bytes += found.st_size + 4096
        return copy_step(source, target, *attributes)

    def _differs(self, path: bytes, source: bytes) -> bool:
        """Tell whether the staged file `path` has another mode or owner in `source`."""
        if path not in self._files.staging:
            return False
        mode, *owner = self._attributes(path)
        # In a user namespace the user who builds is root.
        root = [os.geteuid(), os.getegid()] if self._has_users else [0, 0]
        return attributes(os.lstat(source)) != (mode, *(root if owner == [0, 0] else owner))

    def _attributes(self, path: bytes) -> tuple[int, int, int]:
        """Return mode, user and group of `path` in the view."""
        status = self._files.status(path)
        return (status.mode, status.uid, status.gid) if status else (0o755, 0, 0)

    def _staged_path(self, path: bytes) -> bytes:
        return self._place + b"/staged" + path

    def _entries(self, directory: bytes) -> Iterator[Step]:
        for name in sorted(os.listdir(self._host_path(directory))):
            path = join(directory, name)
            if not is_under(path, *_OWN):
                # Entries beside a mount point may come and go.
                with suppress(FileNotFoundError):
                    steps = self._entry(path, self._host_path(path))
                    yield from steps if directory == b"/" else _attempts(steps)

    def _entry(self, path: bytes, source: bytes) -> Iterator[Step]:
        target = self._top + path
        status = os.lstat(source)
        if stat.S_ISLNK(status.st_mode):
            yield link_step(target, os.readlink(source))
        elif stat.S_ISDIR(status.st_mode):
            yield from self._directory(path, status)
        elif stat.S_ISREG(status.st_mode):
            yield mount_point_step(source, target)
            yield bind_step(source, target)

    def _directory(self, path: bytes, status: os.stat_result) -> Iterator[Step]:
        yield directory_step(self._top + path, *attributes(status))
        if not os.access(self._host_path(path), os.R_OK | os.X_OK):
            return
        has_mounts = any(is_under(mount, path) and mount != path for mount in self._mounts)
        if self._has_users and has_mounts:
            yield from self._entries(path)
        else:
            yield from self._overlay(path, *attributes(status))

    def _mount(self, path: bytes) -> Iterator[Step]:
        """Yield steps that put the host's mount at `path` in its place, if that is possible."""
        try:
            status = os.lstat(path)
        except OSError:
            return
        if stat.S_ISDIR(status.st_mode):
            yield from self._overlay(path, *attributes(status))
        elif stat.S_ISREG(status.st_mode):
            # No socket: the process that listens there is the host's, an engine perhaps.
            yield from _attempts([bind_step(path, self._top + path)])

    def _overlay(self, path: bytes, mode: int, uid: int, gid: int) -> Iterator[Step]:
        self._overlays += 1
        number = b"%d" % self._overlays
        upper, work = (self._place + name + number for name in (b"/upper", b"/work"))
        # The directory itself has the attributes of the upper one.
        yield directory_step(upper, mode, uid, gid)
        yield directory_step(work)
        lower = [self._host_path(path)]
        if any(is_under(staged, path) for staged in (*self._placed, *self._written)):
            lower.insert(0, self._staged_path(path))
        _, *arguments = overlay_step(self._top + path, upper, work, *lower)
        yield "overlay_or_bind", *arguments, os.fsdecode(lower[-1])

    def _host_path(self, path: bytes) -> bytes:
        if path in self._trees:
            return self._placed[path]
        is_host = self._files.base == b"/" or path == self._project
        return path if is_host else self._files.base + path


def _attempts(steps: Iterable[Step]) -> Iterator[Step]:
    """Yield `steps`; a file that cannot be mounted is left out."""
    for step in steps:
        yield ("attempt", *step) if step[0] == "bind_read_only" else step
