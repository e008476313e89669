"""The steps from a program to an image in an engine, as frozen values that run.

A step is made while SConscripts are read and runs when its target is built. It looks at files only
through the root that it is given, whose record becomes the target's footprint. It writes to a
temporary name and renames: a target is whole, or it is what it was before.

What a step needs is imported when it runs: most builds have nothing to do.
"""

from __future__ import annotations

import errno
import functools
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, BinaryIO, ClassVar

from .errors import InputError, SandboxError
from .paths import join, show
from .root import Aspect, Root

if TYPE_CHECKING:
    import re

    from .closure import Row
    from .extras import Extra
    from .filelist import Entry, Want
    from .overlay import Overlay
    from .run import Run
    from .settings import Reference, Settings
    from .sysroot import Origin
    from .tester import Trial
    from .tracer import Record


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
class SysrootStep(Step):
    """Make a base that is not the machine's root; target: the text that vouches for it."""

    label = "ROOT"
    origin: Origin | None
    """What it is made of; None for a directory, which is used where it lies."""
    tree: bytes = field(repr=False)
    """Where it lies, absolute; not part of the signature: checkouts lie anywhere."""
    shown: str = ""
    """What the text calls that directory."""

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Make the tree of `sources`, or see that there is one."""
        from . import sysroot

        if self.origin is None:
            sysroot.check(self.tree, show(self.tree))
            told = self.shown
            write(targets[0], [_witness(f"directory {self.shown}")])
        else:
            with sysroot.unpacked(self.origin, self.tree, root, sources) as made:
                for path, text in sorted(made.files.items()):
                    write(path, [text])
                told = f"{made.paths} paths"
            write(targets[0], [_witness(f"{self.origin}\ncontent {made.content}")])
            root.look(sysroot.owners_file(self.tree), Aspect.CONTENT)
        # Should it go, it is made again.
        root.look(self.tree, Aspect.STAT)
        return told


def _witness(text: str) -> bytes:
    return f"# scratch_image sysroot 1\n{text}\n".encode()


@dataclass(frozen=True)
class TraceStep(Step):
    """Run a program under strace; targets: strace's text, what it means, what the run printed."""

    label = "TRACE"
    program: bytes
    """Image path."""
    command: Run
    strace: bytes
    """The strace program."""
    view: str
    """What the run sees: ``private``, its root alone; ``plain``, the machine's file system; or
    ``auto``, which is private where the machine allows it."""

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Trace with the one source, if there is one, as standard input."""
        from . import tracer

        refusal = "" if self.view == "plain" else _refusal()
        if refusal and root.base != b"/":
            raise SandboxError(f"{refusal}, or set RUNS=[] and list the files of the sysroot")
        if refusal and self.view == "private":
            raise SandboxError(f"{refusal}, or set TRACE_ROOT=plain")
        private = not refusal and self.view != "plain"
        command = replace(self.command, stdin=sources[0] if sources else None)
        trace = tracer.trace(command, self.program, root, self.strace, private=private)
        text, record, stdout = targets
        write(text, [trace.text])
        write(record, [tracer.write_record(trace.record)])
        write(stdout, [trace.stdout])
        told = f"{trace.files} files, {trace.absent} absent, {trace.seconds:.2f} s"
        return f"{told}\n{_plain(refusal)}" if refusal and not _noted(refusal) else told


@functools.cache
def _refusal() -> str:
    """Return why there are no private roots, which is asked once; nothing where there are."""
    from . import sandbox

    return sandbox.refusal()


def _plain(refusal: str) -> str:
    return f"trace: runs see and change the machine's own files: {refusal}, or set TRACE_ROOT=plain"


_notes: set[str] = set()


def _noted(note: str) -> bool:
    """Tell whether `note` was asked for before: it is told once in a call of SCons."""
    known = note in _notes
    _notes.add(note)
    return known


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

        # Of what needs no libraries the content does not matter here.
        needing = (path for path in self.others if root.magic(root.walk(path).real) == "elf")
        chosen = [*self.programs, *needing]
        closures = [closure.closure(root, path) for path in chosen]
        for found in closures:
            closure.require(found)
        write(targets[0], [closure.write_ldd(closures)])
        libraries = {library.path for found in closures for library in found.libraries}
        return f"{len(libraries)} libraries of {len(chosen)} files"


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
    top: bytes = field(repr=False)
    """The project's directory, absolute; not part of the signature: checkouts lie anywhere."""
    allow: tuple[bytes, ...] = ()
    """Paths that may be listed though they look like secrets."""
    presets: tuple[str, ...] = ()
    listed: tuple[bytes, ...] = ()
    """Directories that are to be whole where a run listed them; ``*`` for all of them."""
    user: str = ""
    """The image's user, where it matters for the list."""
    locales: tuple[str, ...] = ()
    """Values of LANG and LC variables in the image's environment."""

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the list that all `sources` together ask for; tell what it may lack."""
        from . import filelist, lint, needs, presets
        from .overlay import Overlay

        view = Overlay(root, self.top)
        asked = self._asked(view, sources)
        entries = self._merged(view, asked)
        found = needs.find(view, entries, asked.covered(view), asked.named(view))
        asked.wants += found.wants
        entries = self._merged(view, asked)
        image = presets.Image(entries, self.user, self.locales)
        asked.wants += presets.wants(view, image, self.presets)
        listed = self._merged(view, asked)
        write(targets[0], [filelist.write(listed)])
        user = presets.lacks_certificates(view, entries)
        mended = user and not presets.lacks_certificates(view.apart(), listed)
        told = f"{len(listed)} paths" + (f", certificates for {user}" if mended else "")
        findings = lint.find(view.apart(), listed, asked.records, found.findings)
        return "\n".join([told, *(f"lint: {finding}" for finding in findings)])

    def _merged(self, view: Overlay, asked: Asked) -> tuple[Entry, ...]:
        from . import filelist

        return filelist.merge(view, asked.wants, self.allow, asked.left_out)

    def _asked(self, view: Overlay, sources: Sequence[bytes]) -> Asked:
        from .filelist import Want

        asked = Asked([Want(path, "staged") for path in self.staged], self.listed)
        for form, path in zip(self.forms, sources, strict=True):
            with open(path, "rb") as stream:
                asked.add(view, form, stream.read())
        return asked


@dataclass
class Asked:
    """What the sources of a file list ask for."""

    wants: list[Want]
    listed: tuple[bytes, ...]
    """As in the step."""
    records: list[Record] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    """Of ldd texts."""
    left_out: list[re.Pattern[bytes]] = field(default_factory=list)

    def add(self, view: Overlay, form: ListSource, text: bytes) -> None:
        """Add what the source `text` asks for."""
        from . import closure, filelist, strace, tracer

        if form.form == "record":
            self._add_record(view, form.name, tracer.read_record(text))
        elif form.form == "strace":
            # Captured by hand: nobody knows when, so all that was open for writing is an output.
            record = tracer.settle(strace.parse(text), view.below, started_ns=0)
            self._add_record(view, form.name, record)
        elif form.form == "ldd":
            rows = closure.read_ldd(text)
            self.rows += rows
            self.wants += filelist.of_ldd(rows)
        else:
            self._add_extras(view, form.name, text)

    def _add_record(self, view: Overlay, run: str, record: Record) -> None:
        from . import filelist

        self.records.append(record)
        self.wants += filelist.of_record(record, run)
        self.wants += filelist.of_listed(view, record, run, self.listed)

    def _add_extras(self, view: Overlay, name: str, text: bytes) -> None:
        from . import filelist

        found = _extras(view, name, text)
        self.wants += filelist.of_extras(view, found)
        self.left_out += _left_out(found)

    def covered(self, view: Overlay) -> frozenset[bytes]:
        """Return the files of ldd texts: what these need is among them."""
        return frozenset(view.walk(row.path).real for row in self.rows)

    def named(self, view: Overlay) -> frozenset[bytes]:
        """Return the files that a line of an extra list names."""
        return frozenset(view.walk(each.path).real for each in self.wants if each.named)


def _extras(view: Overlay, name: str, text: bytes) -> tuple[Extra, ...]:
    from . import extras

    return extras.parse(text, name, lambda included: _text_of(view, included))


def _left_out(found: Iterable[Extra]) -> list[re.Pattern[bytes]]:
    """Return what matches the paths that extra lists leave out."""
    from . import extras, globs

    return [globs.matcher(extra.path) for extra in found if extra.kind is extras.Kind.OUT]


def _text_of(view: Overlay, name: str) -> bytes:
    """Return the text of the project's file `name`; OSError when there is none."""
    found = view.below.walk(join(view.top, os.fsencode(name)))
    if found.status is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    with view.below.open(found.real) as stream:
        return stream.read()


@dataclass(frozen=True)
class LayerStep(Step):
    """Pack the files of a list; target: one layer, compressed as its suffix says."""

    label = "TAR"
    compressor: str
    """What `layer.compressor` says: other bytes come from another one."""
    top: bytes = field(repr=False)
    """The project's directory, absolute."""

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the layer of the file list `sources[0]`."""
        from . import filelist, layer
        from .overlay import Overlay

        with open(sources[0], "rb") as stream:
            entries = filelist.read(stream.read(), show(sources[0]))
        view = Overlay(root, self.top)
        for entry in entries:
            if entry.source:
                view.place_source(entry.path, entry.source)
        suffix = layer.suffix(targets[0])
        with replacing(targets[0]) as sink, layer.compress(sink, suffix) as stream:
            written = layer.write(stream, entries, view)
        return f"{written.size / 1e6:.1f} MB"


@dataclass(frozen=True)
class ImageStep(Step):
    """Make an image of layers; target: the image archive."""

    label = "IMAGE"
    layers: int
    """How many of the sources are layers: the first ones, the lowest first.

    Next may come the ldd text of the image's program, whose architecture is the image's; without
    one that is this machine's.
    """
    settings: Settings
    references: tuple[Reference, ...]
    address: str
    """Of the engine that the image is for; it is only asked whether it is there."""

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the archive of the image."""
        from . import archive, engine, layer
        from .image import Image, architecture

        layers, texts = sources[: self.layers], sources[self.layers :]
        settings = replace(self.settings, architecture=architecture(_machine(texts)))
        made = Image(settings, tuple(layer.read(path) for path in layers))
        with replacing(targets[0]) as sink:
            archive.write(sink, made, layers, self.references)
        told = f"{made.manifest.config.digest}"
        if engine.answers(self.address):
            return told
        shown = os.path.relpath(os.fsdecode(targets[0]))
        return f"{told}\nno engine answers at {self.address}: docker load -i {shown}"


def _machine(texts: Sequence[bytes]) -> int:
    """Return the EM_ number that the first of the ldd texts `texts` tells, or this machine's."""
    from . import closure, elf

    told = [closure.machine_of(_content(path)) for path in texts[:1]]
    return next((machine for machine in told if machine is not None), elf.native_machine())


@dataclass(frozen=True)
class IndexStep(Step):
    """Join images of one platform each; target: the archive of a multi-platform image."""

    label = "INDEX"
    platforms: tuple[str, ...]
    """The architecture that each image has to have; empty where any will do."""
    references: tuple[Reference, ...]

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the index of the image archives `sources`, in their order."""
        from . import archive

        images = [archive.read(path) for path in sources]
        for image, wanted in zip(images, self.platforms, strict=bool(self.platforms)):
            if image.architecture != wanted:
                raise InputError(
                    f"cannot index {show(image.path)} for {wanted}: its program is for "
                    f"{image.architecture}; give the platform's own program and base"
                )
        with replacing(targets[0]) as sink:
            digest = archive.write_index(sink, images, self.references)
        return f"{digest} for {', '.join(image.architecture for image in images)}"


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


@dataclass(frozen=True)
class Traced:
    """A run that was traced."""

    program: bytes
    """Image path."""
    command: Run
    stdin: bool
    """Whether it has a standard input: a file that is a source."""


@dataclass(frozen=True)
class TestStep(Step):
    """Repeat runs with nothing but what their image holds; target: a line for each."""

    label = "TEST"
    layers: int
    """How many of the sources are layers: the first ones."""
    runs: tuple[Traced, ...]
    """Their records, outputs and inputs are the next sources, run by run."""
    strace: bytes
    """The strace program."""
    lists: tuple[str, ...]
    """Names of the extra lists, which come next: what they leave out may be missing."""
    address: str
    """Of the engine that has the image by the ID in the last source; empty when none has."""
    top: bytes = field(repr=False)
    """The project's directory, absolute."""

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Repeat each run in a root of its own, where this machine gives one, and in a container.

        ImageError when one does not go as it did when it was traced.
        """
        from . import tester
        from .overlay import Overlay

        layers, rest = sources[: self.layers], iter(sources[self.layers :])
        trials = [self._trial(each, rest) for each in self.runs]
        view = Overlay(root, self.top)
        lists = [_extras(view, name, _content(next(rest))) for name in self.lists]
        left_out = tuple(rule for found in lists for rule in _left_out(found))
        trials = [replace(trial, left_out=left_out, root=root) for trial in trials]
        image = _content(next(rest)).decode().strip() if self.address else ""
        refusal = _refusal()
        if refusal and not image:
            raise SandboxError(f"{refusal}, or start a Docker engine")
        lines = []
        for trial in trials:
            record = None if refusal else tester.in_root(trial, layers, self.strace)
            if image:
                tester.in_container(trial, self.address, image)
            lines.append(f"{tester.line(trial, record)}\n".encode())
        write(targets[0], lines)
        where = ["a root of its own"] * (not refusal) + ["a container"] * bool(image)
        return f"{', '.join(each.command.name for each in self.runs)} in {' and in '.join(where)}"

    def _trial(self, traced: Traced, sources: Iterator[bytes]) -> Trial:
        from .tester import Trial
        from .tracer import read_record

        record, stdout = read_record(_content(next(sources))), _content(next(sources))
        run = replace(traced.command, stdin=next(sources) if traced.stdin else None)
        return Trial(self.name, run, traced.program, record, stdout)


def _content(path: bytes) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


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
