"""The steps from a program to an image in an engine, as frozen values that run.

A step is made while SConscripts are read and runs when its target is built. It looks at files only
through the root that it is given, whose record becomes the target's footprint. It writes to a
temporary name and renames: a target is whole, or it is what it was before.

What a step needs is imported when it runs: most builds have nothing to do.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO, ClassVar

from .errors import ElfError
from .paths import show
from .root import Aspect, Root

if TYPE_CHECKING:
    from .closure import Closure
    from .filelist import Want
    from .run import Run
    from .settings import Reference, Settings

_RUNS_ALSO = {62: 3, 183: 40}
"""EM_ numbers of machines whose kernels run programs of another one: x86-64 i386, AArch64 ARM."""


@dataclass(frozen=True)
class Step(ABC):
    """What a target's action does."""

    label: ClassVar[str]
    """First word of the line that tells what was done."""
    name: str
    """What that line calls the target."""

    @abstractmethod
    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write `targets` from `sources`, absolute paths; return what to tell of it.

        ScratchImageError when that cannot be, OSError when a target cannot be written.
        """


@dataclass(frozen=True)
class TraceStep(Step):
    """Run a program under strace; targets: strace's text, and the record of what it means."""

    label = "TRACE"
    program: bytes
    """Image path."""
    command: Run
    strace: bytes
    """The strace program."""

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Trace with the one source, if there is one, as standard input."""
        from . import tracer

        command = replace(self.command, stdin=sources[0] if sources else None)
        trace = tracer.trace(command, self.program, root, self.strace)
        text, record = targets
        write(text, [trace.text])
        write(record, [tracer.write_record(trace.record)])
        return f"{trace.files} files, {trace.absent} absent, {trace.seconds:.2f} s"


@dataclass(frozen=True)
class LddStep(Step):
    """Find the libraries of ELF files and scripts without running them; target: ldd's text."""

    label = "LDD"
    programs: tuple[bytes, ...]
    """Image paths of what will run: the image's program first."""
    others: tuple[bytes, ...]
    """Image paths of staged files: those that are ELF files need libraries, too."""

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the closures; there are no sources."""
        from . import closure

        chosen = [*self.programs, *(path for path in self.others if _is_elf(root, path))]
        closures = [closure.closure(root, path) for path in chosen]
        for found in closures:
            _require_native(found)
            closure.require(found)
        write(targets[0], [closure.write_ldd(closures)])
        libraries = {library.path for found in closures for library in found.libraries}
        return f"{len(libraries)} libraries of {len(chosen)} files"


def _is_elf(root: Root, path: bytes) -> bool:
    from . import elf

    found = root.walk(path)
    with root.open(found.real) as stream:
        return elf.is_elf(stream.read(4))


def _require_native(found: Closure) -> None:
    from . import elf

    native = elf.native_machine()
    if found.machine not in (native, _RUNS_ALSO.get(native)):
        raise ElfError(
            f"cannot run {show(found.path)}: it is a program for {elf.machine_name(found.machine)} "
            f"and this machine is {elf.machine_name(native)}; build it for this machine"
        )


@dataclass(frozen=True)
class ListSource:
    """How one source of a file list is to be read."""

    form: str
    """``record``, ``strace``, ``ldd`` or ``extra``."""
    name: str
    """Name of the run, or of the file, in reasons and messages."""


@dataclass(frozen=True)
class ListStep(Step):
    """Join records, ldd texts and extra lists; target: the file list."""

    label = "LIST"
    forms: tuple[ListSource, ...]
    """One for each source."""
    staged: tuple[bytes, ...]
    """Image paths of the project's files."""

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the list that all `sources` together ask for."""
        from . import filelist

        wants = [filelist.Want(path, "staged") for path in self.staged]
        for form, path in zip(self.forms, sources, strict=True):
            with open(path, "rb") as stream:
                wants += _wants(root, form, stream.read())
        entries = filelist.merge(root, wants)
        write(targets[0], [filelist.write(entries)])
        return f"{len(entries)} paths"


def _wants(root: Root, form: ListSource, text: bytes) -> Iterable[Want]:
    from . import closure, extras, filelist, strace, tracer

    if form.form == "record":
        return filelist.of_record(tracer.read_record(text), form.name)
    if form.form == "strace":
        # Captured by hand: nobody knows when, so all that was open for writing is an output.
        record = tracer.settle(strace.parse(text), root, started_ns=0)
        return filelist.of_record(record, form.name)
    if form.form == "ldd":
        return filelist.of_ldd(closure.read_ldd(text))
    return filelist.of_extras(root, extras.parse(text, form.name))


@dataclass(frozen=True)
class LayerStep(Step):
    """Pack the files of a list; target: one layer, compressed as its suffix says."""

    label = "TAR"
    compressor: str
    """What `layer.compressor` says: other bytes come from another one."""

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the layer of the file list `sources[0]`."""
        from . import filelist, layer

        with open(sources[0], "rb") as stream:
            entries = filelist.read(stream.read(), show(sources[0]))
        suffix = layer.suffix(targets[0])
        with replacing(targets[0]) as sink, layer.compress(sink, suffix) as stream:
            written = layer.write(stream, entries, root)
        return f"{written.size / 1e6:.1f} MB"


@dataclass(frozen=True)
class ImageStep(Step):
    """Make an image of layers; target: the image archive."""

    label = "IMAGE"
    settings: Settings
    references: tuple[Reference, ...]
    address: str
    """Of the engine that the image is for; it is only asked whether it is there."""

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the archive of the image that has the layers `sources`, the lowest first."""
        from . import archive, elf, engine, layer
        from .image import Image, architecture

        native = replace(self.settings, architecture=architecture(elf.native_machine()))
        made = Image(native, tuple(layer.read(path) for path in sources))
        with replacing(targets[0]) as sink:
            archive.write(sink, made, sources, self.references)
        told = f"{made.manifest.config.digest}"
        if engine.answers(self.address):
            return told
        shown = os.path.relpath(os.fsdecode(targets[0]))
        return f"{told}\nno engine answers at {self.address}: docker load -i {shown}"


@dataclass(frozen=True)
class LoadStep(Step):
    """Give an image to an engine; target: the image ID that the engine reports."""

    label = "LOAD"
    references: tuple[Reference, ...]
    address: str

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Load the archive `sources[0]`."""
        from . import engine

        image_id = engine.load(self.address, sources[0])
        for reference in self.references:
            root.look(f"{self.address} {reference.familiar}".encode(), Aspect.IMAGE)
        write(targets[0], [image_id.encode() + b"\n"])
        return f"{', '.join(each.familiar for each in self.references)} {image_id}"


def write(path: bytes, chunks: Iterable[bytes]) -> None:
    """Write the file `path` in one piece: it is whole, or as it was."""
    with replacing(path) as sink:
        sink.writelines(chunks)


@contextmanager
def replacing(path: bytes) -> Iterator[BinaryIO]:
    """Open a temporary file that takes the place of `path` when the block ends well."""
    made = temporary(path)
    try:
        with open(made, "wb") as sink:
            yield sink
        os.replace(made, path)
    except BaseException:
        if os.path.lexists(made):
            os.unlink(made)
        raise


def temporary(path: bytes) -> bytes:
    """Return the name under which `path` is written."""
    directory, name = os.path.split(path)
    return os.path.join(directory, b".%s.new" % name)
