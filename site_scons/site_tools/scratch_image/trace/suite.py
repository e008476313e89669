"""A test suite as a run: its harness, and the programs of the image that the harness starts."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ..elf import reader
from ..errors import ListError, TraceError
from ..fs.file_system import FileSystem
from ..fs.lookup import FileKind
from ..fs.paths import join, show
from ..fs.root import Root
from ..sandbox.run import Run
from .log import Log
from .record import Use


@dataclass(frozen=True, slots=True)
class Starts:
    """How often a suite started a program of the image."""

    program: bytes
    """Image path."""
    count: int


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite: its harness, and the programs that it is about."""

    run: Run
    harness: bytes
    """Its path."""
    program: bytes
    """Link-free image path of the image's program."""
    files: FileSystem
    built: Mapping[bytes, bytes]
    """The image paths of staged files, by where these lie on the host."""

    @classmethod
    def find(cls, run: Run, program: bytes, root: Root) -> Suite:
        """Return the suite `run` about the image path `program`; TraceError without its harness."""
        real = root.walk(program).real
        return cls(run, find_harness(run, root), real, root.files, built_files(root.files))

    def is_program(self, path: bytes) -> bool:
        """Tell whether the absolute `path`, as a process executed it, is a program of the image.

        A program is the image's own, or a staged file, at its image path or where it was built.
        """
        place = self._place(path)
        return place == self.program or place in self.files.staging

    def _place(self, path: bytes) -> bytes:
        try:
            real = self.files.walk(path).real
        except ListError:
            return path
        return self.built.get(real) or self.files.image_path(real)

    def check(self, log: Log) -> tuple[Starts, ...]:
        """Return how often each program was started.

        TraceError when the suite started none, or changed one.
        """
        self._require_unchanged(log)
        return self._starts(log.starts)

    def _starts(self, started: Iterable[tuple[bytes, int]]) -> tuple[Starts, ...]:
        """Return how often each program was `started`, by its paths; the image's program first.

        Programs that are staged and were not started are among them. TraceError when none was.
        """
        found: Counter[bytes] = Counter()
        for path, count in started:
            found[self._place(path)] += count
        others = {*found, *(path for path in self.files.staged if self._can_start(path))}
        programs = (self.program, *sorted(others - {self.program}))
        if not found:
            raise TraceError(
                f"trace run {self.run.name}",
                f"its harness started no program of the image, as {show(self.program)}",
                "let it start one by that path, or where it was built",
            )
        return tuple(Starts(path, found[path]) for path in programs)

    def _require_unchanged(self, log: Log) -> None:
        """Raise TraceError when the suite wrote to a program, which then is not the image's."""
        for access in log.accesses:
            if access.kind in (Use.WRITE, Use.CREATE) and self.is_program(access.path):
                raise TraceError(
                    f"trust the trace of run {self.run.name}",
                    f"the suite changed {show(self._place(access.path))}",
                    "build that before the suite starts",
                )

    def _can_start(self, path: bytes) -> bool:
        """Return whether the kernel can execute the staged file `path`, and not only load it."""
        status = self.files.status(path)
        if status is None or status.kind is not FileKind.FILE or not status.mode & 0o111:
            return False
        with self.files.open(path) as stream:
            head = stream.read(reader.SCRIPT_HEAD)
            if not reader.is_elf(head):
                return reader.interpreter_of_script(head) is not None
            binary = reader.read(stream, path)
            is_library = binary.soname is not None or bool(binary.needed)
            return binary.interpreter is not None or not is_library


def built_files(files: FileSystem) -> dict[bytes, bytes]:
    """Return the image paths of the staged files in `files`, by where these lie on the host.

    A staged link is a link in the root and in the image: the file that it leads to keeps its own
    path.
    """
    staged = files.staged.items()
    return {os.path.realpath(place): path for path, place in staged if not os.path.islink(place)}


def find_harness(run: Run, root: Root) -> bytes:
    """Return the path of the harness of the suite `run`; TraceError when there is none.

    It is looked for as execvp(3) does, from the directory where the run starts.
    """
    for path in _candidates(run):
        status = root.walk(path).status
        if status and status.kind is FileKind.FILE and status.mode & 0o111:
            return path
    raise TraceError(
        f"trace run {run.name}",
        f"its root has no harness {show(run.argv[0])}",
        "install it there, or put it into the project and name its path",
    )


def _candidates(run: Run) -> Iterator[bytes]:
    name = run.argv[0]
    places = [b""] if b"/" in name else run.variables[b"PATH"].split(b":")
    for place in places:
        yield join(run.cwd, join(place, name) if place else name)
