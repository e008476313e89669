"""The resolution of a log: its accesses, looked up in the file system as it is after the run.

Of a suite the record has the uses of the programs that it is about. The uses of its harness, and
of the project's own files, are looks that the record depends on, and are not in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace

from ..elf import machines, reader
from ..elf.loader_cache import CACHE
from ..errors import ListError
from ..fs.lookup import FileKind, Status, Walk
from ..fs.paths import PATH_MAX, is_in_kernel_tree, is_under, join, parents
from ..fs.root import Aspect, Root
from .log import Access, Log
from .record import Record, Use, Used
from .suite import built_files

_STRENGTH = {use: -number for number, use in enumerate(Use)}

_ASPECTS = {
    Use.EXEC: Aspect.CONTENT,
    Use.READ: Aspect.CONTENT,
    Use.LIST: Aspect.LISTING,
    Use.STAT: Aspect.SIZE,
    Use.LINK: Aspect.STAT,
    Use.ABSENT: Aspect.STAT,
}


def resolve(log: Log, root: Root, started_ns: int) -> Record:
    """Return the record of `log`, and note in `root` the looks that it depends on.

    `started_ns` is when the run started, by the clock of ctimes, in nanoseconds; with 0 each file
    that was open for writing counts as changed.
    """
    return Resolution(log, root, started_ns).record


class Resolution:
    """Looks up the accesses of a log in the file system as it is after the run."""

    def __init__(
        self,
        log: Log,
        root: Root,
        started_ns: int,
        *,
        private: bool = False,
        is_suite: bool = False,
    ) -> None:
        self._files = root.files
        is_owned = is_suite and root.files.own != b""
        self._project = root.files.walk(root.files.own).real if is_owned else b""
        """Where a suite's own files lie."""
        self._started_ns = started_ns
        self._private = private
        self._read: set[bytes] = set()
        self._image_paths = built_files(root.files)
        self._build_directories = self._find_build_directories()
        self._extra_looks: set[tuple[bytes, Aspect]] = set()
        self._known_walks: dict[tuple[bytes, bool], Walk] = {}
        self._outputs: set[bytes] = set()
        self._own_outputs: set[bytes] = set()
        """Those that not only the harness of a suite has written."""
        self._made: set[bytes] = set()
        self._kinds: dict[bytes, Use] = {}
        self._other_kinds: dict[bytes, Use] = {}
        """The uses that a suite depends on, and that are not in its record."""
        self._executed: list[tuple[bytes, bool]] = []
        self._contradicted: set[bytes] = set()
        """Paths that the run found and that are gone now, or the other way round."""
        self.registered: list[bytes] = []
        """Files that the kernel gave to an interpreter that is registered, not named in them."""
        self._add_accesses(log)
        self.record = self._make_record()
        for path, kind in self._all_kinds().items():
            if kind is Use.LIST and self._is_projects(path):
                # Steps of the build may write into it from now on: its names count, not its time.
                self._files.listing(path)
        # Walks pass the kernel's trees and outputs, too: the run depends on its record alone.
        root.looked |= _find_looks(self._all_kinds()) | self._extra_looks

    def _find_build_directories(self) -> set[bytes]:
        """Return the directories on the way to the project's files that lead to none of an image.

        A private run sees none of them, unless it is a suite.
        """
        if self._private and not self._project:
            return set()
        built = (*self._files.staged.values(), *self._image_paths, self._project)
        return {above for path in filter(None, built) for above in parents(path)}

    def _add_accesses(self, log: Log) -> None:
        for access in log.accesses:
            if self._private and access.kind in (Use.READ, Use.EXEC):
                self._read.update(walk.real for walk in self._walks(access))
        for access in log.accesses:
            if access.kind in (Use.WRITE, Use.CREATE):
                self._add_output(access)
        for access in log.accesses:
            self._add_input(access)
        self._add_interpreters()

    @property
    def changed(self) -> list[bytes]:
        """Inputs that changed after the start of the run, though it did not write them."""
        return [
            path
            for path, kind in sorted(self._all_kinds().items())
            if path in self._contradicted or self._has_changed(path, kind)
        ]

    def _all_kinds(self) -> dict[bytes, Use]:
        """Return the strongest use of each input, those that are not in the record included."""
        kinds = dict(self._kinds)
        for path, kind in self._other_kinds.items():
            _strengthen(kinds, path, kind)
        return kinds

    def _has_changed(self, path: bytes, kind: Use) -> bool:
        status = self._files.status(path)
        if status is None or status.ctime_ns <= self._started_ns:
            return False
        # A directory changes with any entry: that counts only for a run that read its entries.
        if status.kind is not FileKind.DIR:
            return True
        if self._has_made_files(path):
            return False
        own = any(os.path.dirname(output) == path for output in self._outputs)
        return kind is Use.LIST and not own

    def _has_made_files(self, directory: bytes) -> bool:
        """Return whether steps of the build write into `directory`, while the run goes on."""
        if not self._is_projects(directory):
            return False
        names = os.listdir(self._files.host_path(directory))
        return len(self._files.listing(directory)) < len(names)

    def _walks(self, access: Access) -> Iterator[Walk]:
        """Yield the lookups of `access`: of its path, and of the file that it opened."""
        real = None
        if not is_in_kernel_tree(os.path.normpath(access.path)):
            walk = self._walk(access.path, access.follow)
            real = walk.real
            if access.sure or (walk.status is None) == (access.kind is Use.ABSENT):
                yield walk
        if access.real is not None and self._image_path(access.real) != real:
            yield self._walk(access.real, follow=False)

    def _may_have_gone(self, path: bytes) -> bool:
        """Return whether `path`, which does not exist, may have existed during the run.

        It need not have: where a run cannot make a file, the error is not that it is missing.
        """
        above = self._files.status(os.path.dirname(path))
        return above is None or above.ctime_ns > self._started_ns

    def _walk(self, path: bytes, follow: bool) -> Walk:
        key = self._image_path(path), follow
        if key not in self._known_walks:
            self._known_walks[key] = self._look_up(*key)
        return self._known_walks[key]

    def _look_up(self, path: bytes, follow: bool) -> Walk:
        while len(self._files.host_path(path)) >= PATH_MAX:
            path = os.path.dirname(path)
        while True:
            try:
                walk = self._files.walk(path, follow=follow)
                # A link of the build tree may lead to a staged file.
                return replace(walk, real=self._image_path(walk.real))
            except ListError:
                # The user may not look there; the run could not, either.
                path = os.path.dirname(path)

    def _image_path(self, path: bytes) -> bytes:
        if self._private and not self._is_projects(path):
            return path
        return self._image_paths.get(path) or self._files.image_path(path)

    def _add_output(self, access: Access) -> None:
        for walk in self._walks(access):
            if not is_in_kernel_tree(walk.real) and self._is_output(walk):
                self._outputs.add(walk.real)
                if not access.is_harness:
                    self._own_outputs.add(walk.real)
                if access.kind is Use.CREATE:
                    self._made.add(walk.real)

    def _is_output(self, walk: Walk) -> bool:
        if walk.status is None:
            return True
        if self._private:
            # The run found this file; the files that it wrote are gone.
            return walk.status.kind is FileKind.FILE and walk.real not in self._read
        return walk.status.ctime_ns >= self._started_ns

    def _add_input(self, access: Access) -> None:
        for walk in self._walks(access):
            self._add_walk(walk, access.kind, access.is_harness)
            if _contradicts(access, walk.status) and self._has_come_or_gone(walk, access):
                self._contradicted.add(walk.real)
            if access.kind is Use.EXEC and walk.status is not None:
                self._executed.append((walk.real, access.is_harness))

    def _add_walk(self, walk: Walk, kind: Use, is_harness: bool) -> None:
        for link in walk.links:
            self._add_use(link, Use.LINK, is_harness)
        for directory in walk.left:
            self._add_use(directory, Use.STAT, is_harness)
        # The lookup of FILE/../x failed because FILE is no directory: FILE is the input.
        use = _use_now(kind, walk.status or self._files.status(walk.real))
        self._add_use(walk.real, use, is_harness)

    def _is_in_record(self, path: bytes, is_harness: bool) -> bool:
        """Return whether a use of `path` is in the record, and not only a dependency of it."""
        return not is_harness and not self._is_projects(path)

    def _is_projects(self, path: bytes) -> bool:
        """Return whether `path` lies in the project's directory, and the run is a suite."""
        return self._project != b"" and is_under(path, self._project)

    def _add_use(self, path: bytes, kind: Use, is_harness: bool) -> None:
        if is_in_kernel_tree(path) or path in self._outputs:
            return
        if self._made and not self._made.isdisjoint(parents(path)):
            return
        if self._files.is_made(path):
            return
        if path in self._build_directories and path != b"/":
            self._extra_looks.add((path, _ASPECTS[kind]))
            return
        if kind is Use.LIST and self._files.hides(path):
            # The run saw staged files only: as LIST the host's directory would go into the image.
            self._extra_looks.add((path, Aspect.LISTING))
            kind = Use.STAT
        is_in_record = self._is_in_record(path, is_harness)
        _strengthen(self._kinds if is_in_record else self._other_kinds, path, kind)

    def _add_interpreters(self) -> None:
        """Add files that the kernel opened without a call: ``#!`` interpreters and ELF loaders."""
        seen = set(self._executed)
        while self._executed:
            path, is_harness = self._executed.pop()
            interpreter, runs_here = self._read_interpreter(path)
            if not runs_here:
                self.registered.append(path)
            if interpreter is None:
                continue
            walk = self._walk(join(b"/", interpreter), follow=True)
            self._add_walk(walk, Use.EXEC, is_harness)
            if walk.status is not None and (walk.real, is_harness) not in seen:
                seen.add((walk.real, is_harness))
                self._executed.append((walk.real, is_harness))

    def _has_come_or_gone(self, walk: Walk, access: Access) -> bool:
        """Return whether only a change explains that the run found another state at `walk`."""
        if walk.status is None:
            return self._may_have_gone(walk.real)
        return not self._lacks_interpreter(walk, access)

    def _lacks_interpreter(self, walk: Walk, access: Access) -> bool:
        """Return whether the file at `walk` cannot be executed because its interpreter is missing.

        execve(2) then says that there is no such file, and means the interpreter.
        """
        status = walk.status
        if status is None or status.kind is not FileKind.FILE or not status.mode & 0o111:
            return False
        interpreter, _ = self._read_interpreter(walk.real)
        found = interpreter and self._walk(join(b"/", interpreter), follow=True)
        if not found or found.status is not None:
            return False
        self._add_walk(found, Use.ABSENT, access.is_harness)
        return True

    def _read_interpreter(self, path: bytes) -> tuple[bytes | None, bool]:
        """Return the interpreter that `path` names, and whether `path` runs on this host."""
        with self._files.open(path) as stream:
            head = stream.read(reader.SCRIPT_HEAD)
            if reader.is_elf(head):
                binary = reader.read(stream, path)
                return binary.interpreter, machines.runs_here(binary.machine)
        interpreter = reader.interpreter_of_script(head)
        return interpreter, interpreter is not None

    def _make_record(self) -> Record:
        # The directory of a new file has to be there. Temporary files are not inputs.
        gone = {path for path in self._made if self._files.status(path) is None}
        for path in sorted(self._made):
            above = os.path.dirname(path)
            if above not in self._made:
                use = _use_now(Use.STAT, self._files.status(above))
                self._add_use(above, use, is_harness=path not in self._own_outputs)
        written = {path for path in self._own_outputs - gone if self._is_in_record(path, False)}
        kinds = self._kinds | dict.fromkeys(written, Use.WRITE)
        return Record(tuple(Used(kinds[path], path) for path in sorted(kinds)))


def _strengthen(kinds: dict[bytes, Use], path: bytes, kind: Use) -> None:
    """Set the use of `path` in `kinds` to `kind`, if that is stronger."""
    known = kinds.get(path)
    if known is None or _STRENGTH[kind] > _STRENGTH[known]:
        kinds[path] = kind


def _contradicts(access: Access, status: Status | None) -> bool:
    """Return whether the run found a path that has no `status` now, or the other way round."""
    if not access.sure or access.kind in (Use.WRITE, Use.CREATE):
        return False
    if status and status.kind is not FileKind.DIR and os.path.basename(access.path) in (b"", b"."):
        return False  # FILE/ and FILE/. do not exist, though FILE does.
    return (status is None) != (access.kind is Use.ABSENT)


def _use_now(kind: Use, status: Status | None) -> Use:
    """Return the use in an access that was logged as `kind`, of a path that has `status` now."""
    if status is None:
        return Use.ABSENT
    if status.kind is FileKind.LINK:
        return Use.LINK
    fits = {FileKind.FILE: (Use.EXEC, Use.READ), FileKind.DIR: (Use.LIST,)}
    return kind if kind in fits.get(status.kind, ()) else Use.STAT


def _find_looks(inputs: Mapping[bytes, Use]) -> set[tuple[bytes, Aspect]]:
    """Return the looks that a trace of a run with these inputs depends on.

    Of ld.so.cache these are its answers for the libraries among them, not its content, which
    changes with every library of the host.
    """
    looks = {(path, _ASPECTS[kind]) for path, kind in inputs.items() if path != CACHE}
    if CACHE in inputs:
        names = {os.path.basename(path) for path in inputs}
        looks |= {(name, Aspect.SONAME) for name in names if b".so" in name}
        looks.add((CACHE, Aspect.STAT))
    return looks
