"""The steps from a program to an image in an engine, as frozen values that run.

A step is made while SConscripts are read and runs when its target is built. It looks at files only
through the root that it is given, whose record becomes the target's footprint. It writes to a
temporary name and renames: a target is whole, or it is what it was before.

What a step needs is imported when it runs: most builds have nothing to do.
"""

from __future__ import annotations

import errno
import functools
import glob
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from .. import progress
from ..errors import InputError, SandboxError, TraceError
from ..fs.digest import Digest
from ..fs.paths import show
from ..fs.root import Aspect, Root
from ..fs.status import FileKind
from ..fs.target import replacing, write
from . import tools

if TYPE_CHECKING:
    import re

    from ..elf.closure import Missing
    from ..elf.ldd_text import Row
    from ..files.dependencies import Needs
    from ..files.extra_list import Extra
    from ..files.file_list import Entry, Want
    from ..files.why import Absent, Reasons
    from ..fs.overlay import OverlaidFiles, Overlay
    from ..image.settings import Reference, Settings
    from ..inspect.replay import Trial
    from ..publish.engine import Loaded
    from ..publish.registry import Tag
    from ..sandbox.run import Run
    from ..sysroot.sysroot import Origin
    from ..trace.tracer import Record


Environment = tuple[tuple[bytes, bytes], ...]
"""Variables: names, with their values."""


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

    def tools(self) -> tuple[str, ...]:
        """Return what else decides over the bytes: programs, libraries, the processor."""
        return ()


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
        from ..sysroot import sysroot

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

    def tools(self) -> tuple[str, ...]:
        """Return the tracer, and what decides which libraries are loaded."""
        return (
            tools.program(self.strace),
            tools.processor(),
        )

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Trace with the one source, if there is one, as standard input."""
        from ..trace import tracer

        obstacle = None if self.view == "plain" else _find_obstacle()
        if obstacle and root.files.base != b"/":
            raise _with_choice(obstacle, "set RUNS=[] and list the files of the sysroot")
        if obstacle and self.view == "private":
            raise _with_choice(obstacle, "set TRACE_ROOT=plain")
        private = not obstacle and self.view != "plain"
        command = replace(self.command, stdin=sources[0] if sources else None)
        try:
            trace = tracer.trace(command, self.program, root, self.strace, private=private)
        except TraceError as error:
            if not obstacle:
                raise
            hint = f"{error.hint}\n{_plain_warning(obstacle)}"
            raise TraceError(error.action, error.cause, hint) from error
        text, record, stdout = targets
        write(text, [trace.text])
        write(record, [tracer.write_record(trace.record)])
        write(stdout, [trace.stdout])
        told = [f"{trace.files} files, {trace.absent} absent"]
        name = os.path.basename(command.argv[0]) if command.argv else b""
        if name not in (b"", os.path.basename(self.program)):
            told.append(f"trace: {show(name)} is only what {show(self.program)} was called")
        if obstacle:
            told.append(_plain_warning(obstacle))
        return "\n".join(told)


@functools.cache
def _find_obstacle() -> SandboxError | None:
    """Return why there are no private roots, found out once; None where there are."""
    from ..sandbox import namespaces

    return namespaces.find_obstacle()


def _with_choice(error: SandboxError, choice: str) -> SandboxError:
    hint = f"{error.hint}, or {choice}"
    return SandboxError(action=error.action, cause=error.cause, hint=hint)


def _plain_warning(obstacle: SandboxError) -> str:
    choice = _with_choice(obstacle, "set TRACE_ROOT=plain")
    return f"trace: runs see and change the machine's own files: {choice}"


@dataclass(frozen=True)
class LddStep(Step):
    """Find the libraries of ELF files and scripts without running them; target: ldd's text."""

    label = "LDD"
    programs: tuple[bytes, ...]
    """Image paths of what will run: the image's program first."""
    others: tuple[bytes, ...]
    """Image paths of staged files: those that are ELF files need libraries, too."""
    environment: Environment = ()
    """The image's variables that decide what is found."""

    def tools(self) -> tuple[str, ...]:
        """Return what reads ELF files, and what decides which libraries are loaded."""
        return (
            tools.elf_reader(),
            tools.processor(),
        )

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the closures; there are no sources.

        What is not found may be what a run loads: the file list tells.
        """
        from ..elf import closure, ldd_text

        # Of what needs no libraries the content does not matter here.
        needing = (path for path in self.others if root.magic(root.walk(path).real) == "elf")
        chosen = [*self.programs, *needing]
        variables = dict(self.environment)
        closures = [each for path in chosen for each in closure.closures(root, path, variables)]
        write(targets[0], [ldd_text.write(closures)])
        libraries = {library.path for found in closures for library in found.libraries}
        return f"{len(libraries)} libraries of {len(chosen)} files"


@dataclass(frozen=True)
class ListSource:
    """How one source of a file list is to be read."""

    form: str
    """``record``, ``strace``, ``ldd`` or ``extra``."""
    name: str
    """Name of the run, or of the extra list, in reasons and messages."""
    file: str = ""
    """Path of the text in messages, as seen from the project's directory."""


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
    packages: bool = True
    """Whether scanners are told of Debian's packages."""
    copyright: bool = False
    """Whether the copyright files of these come along."""
    environment: Environment = ()
    """As in `LddStep`."""

    def tools(self) -> tuple[str, ...]:
        """Return what reads ELF files, and what decides which libraries are loaded."""
        return (
            tools.elf_reader(),
            tools.processor(),
        )

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the list that all `sources` together ask for; tell what it may lack."""
        from ..elf import closure
        from ..files import file_list, packages, presets
        from ..fs.overlay import Overlay

        view = Overlay(root, self.top)
        asked = self.asked(view, sources)
        closure.require(asked.missing())
        entries = self._merged(view, asked)
        found = self._needs(view, asked, entries)
        asked.wants += found.wants
        entries = self._merged(view, asked)
        image = presets.Image(entries, self.user, self.locales)
        asked.wants += presets.wants(view, image, self.presets)
        listed = self._merged(view, asked)
        if self.packages:
            asked.wants += packages.files(view, listed, with_copyright=self.copyright)
            asked.wants += packages.status(view, self._merged(view, asked))
            listed = self._merged(view, asked)
        file_list.refuse_content(view, listed, self.allow)
        write(targets[0], [file_list.write(listed)])
        user = presets.lacks_certificates(view, entries)
        mended = user and not presets.lacks_certificates(view.files, listed)
        told = f"{len(listed)} paths" + (f", certificates for {user}" if mended else "")
        findings = self._lint(view.files, asked, listed, found.findings)
        return "\n".join([told, *(f"lint: {finding}" for finding in findings)])

    def _lint(
        self,
        view: Overlay | OverlaidFiles,
        asked: Asked,
        listed: Sequence[Entry],
        more: Sequence[str],
    ) -> tuple[str, ...]:
        from ..files import lint

        skipped = asked.skipped(view)
        return lint.find(view, listed, asked.records, more, skipped, self.presets)

    def findings(self, view: Overlay, asked: Asked, listed: Sequence[Entry]) -> tuple[str, ...]:
        """Return what lint says of `listed`, the list of what was `asked`."""
        found = self._needs(view, asked, self._merged(view, asked))
        return self._lint(view, asked, listed, found.findings)

    def _needs(self, view: Overlay, asked: Asked, entries: Sequence[Entry]) -> Needs:
        from ..files import dependencies

        covered, named = asked.covered(view), asked.named(view)
        return dependencies.find(view, entries, covered, named, dict(self.environment))

    def why(
        self, root: Root, target: bytes, sources: Sequence[bytes], path: bytes
    ) -> Iterator[str]:
        """Yield lines that tell why `path` is in the list `target` of `sources`, or is not."""
        from ..files import file_list, why
        from ..fs.overlay import Overlay

        view = Overlay(root, self.top)
        asked = self.asked(view, sources)
        reasons = why.Reasons(file_list.read(_content(target), show(target)))
        listed = reasons.place(path)
        if listed in reasons.entries:
            yield f"WHY    {self.name:18}  {show(listed)} is in the image"
            lines = why.presence(reasons, listed, asked.lines(view))
        else:
            yield f"WHY    {self.name:18}  {show(path)} is not in the image"
            lines = why.absence(self._absent(view, reasons, asked, path), asked.runs())
        yield from (f"       {line}" for line in lines)

    def _absent(self, view: Overlay, reasons: Reasons, asked: Asked, path: bytes) -> Absent:
        from ..files.presets import Image, that_bring
        from ..files.why import Absent

        found = view.walk(path, follow=False)
        exists = found.status is not None and found.status.kind is not FileKind.OTHER
        image = Image(tuple(reasons.entries.values()), self.user, self.locales)
        names = tuple(that_bring(view, image, found.real)) if exists else ()
        return Absent(found.real, exists, names, asked.left_out)

    def _merged(self, view: Overlay, asked: Asked) -> tuple[Entry, ...]:
        from ..files import file_list

        return file_list.merge(view, asked.wants, self.allow, asked.left_out)

    def asked(self, view: Overlay, sources: Sequence[bytes]) -> Asked:
        """Return what `sources` ask for; what extra lists make is placed in `view`."""
        from ..files.file_list import Want

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
    names: list[str] = field(default_factory=list)
    """Of the runs whose records these are."""
    rows: list[Row] = field(default_factory=list)
    """Of ldd texts."""
    unfound: list[Missing] = field(default_factory=list)
    """Of ldd texts."""
    left_out: list[re.Pattern[bytes]] = field(default_factory=list)

    def add(self, view: Overlay, form: ListSource, text: bytes) -> None:
        """Add what the source `text` asks for."""
        from ..elf import ldd_text
        from ..files import file_list
        from ..trace import tracer

        if form.form == "record":
            self._add_record(view, form.name, tracer.read_record(text))
        elif form.form == "strace":
            record = tracer.captured(text, form.file, view.below)
            self._add_record(view, form.name, record)
        elif form.form == "ldd":
            rows = ldd_text.read(text, form.file)
            self.rows += rows
            self.unfound += ldd_text.read_missing(text)
            self.wants += file_list.of_ldd(rows)
        else:
            self._add_extras(view, form.name, text)

    def _add_record(self, view: Overlay, run: str, record: Record) -> None:
        from ..files import file_list

        self.records.append(record)
        self.names.append(run)
        self.wants += file_list.of_record(record, run)
        self.wants += file_list.of_listed(view, record, run, self.listed)

    def _add_extras(self, view: Overlay, name: str, text: bytes) -> None:
        from ..files import file_list

        found = _extras(view, name, text)
        self.wants += file_list.of_extras(view, found)
        self.left_out += _left_out(found)

    def missing(self) -> list[Missing]:
        """Return the libraries that neither an ldd text names nor a run loaded.

        A run may find one by what a script, or the program itself, sets (LD_LIBRARY_PATH, dlopen).
        """
        uses = [use for record in self.records for use in record.uses]
        loaded = {
            os.path.basename(use.path) for use in uses if use.kind in ("read", "link", "exec")
        }
        return [each for each in self.unfound if os.path.basename(each.name) not in loaded]

    def covered(self, view: Overlay) -> frozenset[bytes]:
        """Return the files of ldd texts: what these need is among them."""
        return frozenset(view.walk(row.path).real for row in self.rows)

    def runs(self) -> list[tuple[str, Record]]:
        """Return the name and the record of each run."""
        return list(zip(self.names, self.records, strict=True))

    def lines(self, view: Overlay) -> dict[bytes, list[str]]:
        """Return by path the lines of extra lists that ask for it."""
        found: dict[bytes, set[str]] = {}
        for want in self.wants:
            if want.where:
                found.setdefault(view.walk(want.path, follow=False).real, set()).add(want.where)
        return {path: sorted(lines) for path, lines in found.items()}

    def skipped(self, view: Overlay | OverlaidFiles) -> list[bytes]:
        """Return the devices, FIFOs and sockets in the directories that lists name, sorted."""
        from ..files.file_list import is_made_by_runtime

        found = set()
        for want in self.wants:
            if want.where or want.reason.startswith("listed-by:"):
                status = view.files.status(want.path)
                if status is not None and status.kind is FileKind.OTHER:
                    found.add(want.path)
        return sorted(
            path
            for path in found
            if not is_made_by_runtime(path)
            and not any(rule.fullmatch(path) for rule in self.left_out)
        )

    def named(self, view: Overlay) -> frozenset[bytes]:
        """Return the files that a line of an extra list names."""
        return frozenset(view.walk(each.path).real for each in self.wants if each.named)


def _extras(view: Overlay, name: str, text: bytes) -> tuple[Extra, ...]:
    from ..files import extra_list

    return extra_list.parse(text, name, lambda included: _text_of(view, included))


def _left_out(found: Iterable[Extra]) -> list[re.Pattern[bytes]]:
    """Return what matches the paths that extra lists leave out."""
    from ..files import extra_list
    from ..fs import globs

    return [globs.matcher(extra.path) for extra in found if extra.kind is extra_list.Kind.OUT]


def _text_of(view: Overlay, name: str) -> bytes:
    """Return the text of the project's file `name`; OSError when there is none."""
    found = view.below.walk(view.source(os.fsencode(name)))
    if found.status is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    with view.below.open(found.real) as stream:
        return stream.read()


@dataclass(frozen=True)
class LayerStep(Step):
    """Pack the files of a list; target: one layer, compressed as its suffix says."""

    label = "TAR"
    compressor: str
    """What `compression.compressor` says: other bytes come from another one."""
    top: bytes = field(repr=False)
    """The project's directory, absolute."""

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the layer of the file list `sources[0]`."""
        from ..files import bytecode
        from ..image import compression, layer

        entries, view = _laid_out(root, self.top, sources[0])
        bytecode.date_sources(view, entries)
        progress.current().expect(layer.size(entries, view))
        suffix = compression.suffix_of(targets[0])
        with replacing(targets[0]) as sink, compression.compress(sink, suffix) as stream:
            written = layer.write(stream, entries, view)
        return f"{written.size / 1e6:.1f} MB"


@dataclass(frozen=True)
class StackStep(Step):
    """Pack the files of a list by package; target: the list of layers, with blobs beside it."""

    label = "TAR"
    suffix: str
    """How the blobs are compressed: a key of `compression.MEDIA_TYPES`."""
    compressor: str
    """As in `LayerStep`."""
    top: bytes = field(repr=False)
    """The project's directory, absolute."""

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Have the blobs of the file list `sources[0]`; those of other images are linked."""
        from ..files import bytecode
        from ..image import stack

        entries, view = _laid_out(root, self.top, sources[0])
        bytecode.date_sources(view, entries)
        # What lies beside the project is no image of its tree.
        is_tree = os.path.dirname(targets[0]) != self.top
        for other in [targets[0], *(_beside(targets[0], stack.SUFFIX) if is_tree else ())]:
            stack.recall(other)
        groups = stack.plan(view, entries)
        progress.current().expect(stack.size(groups, view))
        packed = [stack.pack(targets[0], group, view, self.suffix) for group in groups]
        blobs = [blob for blob, _ in packed]
        write(targets[0], [stack.write(blobs, self.compressor)])
        stack.keep(targets[0], blobs)
        for blob in blobs:
            # Should it go, or change, it is made again.
            root.look(blob.path, Aspect.CONTENT)
        sizes = [blob.layer.size for blob in blobs]
        new = sum(blob.layer.size for blob, is_new in packed if is_new)
        return f"{len(blobs)} layers, {sum(sizes) / 1e6:.1f} MB, {new / 1e6:.1f} MB of it new"


def _beside(target: bytes, suffix: bytes) -> list[bytes]:
    """Return the files with `suffix` of the images of the same tree as `target`, but for its own.

    Each image of a tree has a directory of its own.
    """
    around = glob.escape(os.path.dirname(os.path.dirname(target)))
    found = glob.glob(os.path.join(around, b"*", b"*" + suffix))
    return sorted(path for path in found if path != target)


def _laid_out(root: Root, top: bytes, listing: bytes) -> tuple[tuple[Entry, ...], Overlay]:
    """Return what the file list `listing` has, and `root` with its sources at their places."""
    from ..files import file_list
    from ..fs.overlay import Overlay

    entries, view = file_list.read(_content(listing), show(listing)), Overlay(root, top)
    for entry in entries:
        if entry.source:
            view.place_source(entry.path, entry.source)
    return entries, view


@dataclass(frozen=True)
class ImageStep(Step):
    """Make an image of layers; target: the image archive."""

    label = "IMAGE"
    layers: int
    """How many of the sources are layers or lists of such: the first ones, the lowest first.

    Next may come the ldd text of the image's program, whose architecture is the image's; without
    one that is this machine's.
    """
    settings: Settings
    references: tuple[Reference, ...]
    address: str = field(repr=False)
    """Of the engine that the image is for; it is only asked whether it is there."""
    runs: tuple[str, ...] = ()
    """Names of the runs whose records are the last sources: the image's user is to repeat them."""

    def tools(self) -> tuple[str, ...]:
        """Return the processor: without an ldd text the image is for its architecture."""
        return (tools.processor(),)

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the archive of the image; InputError when it could not start as it is set."""
        from ..image import archive, permissions, stack
        from ..image.config import Image, architecture
        from ..image.rootfs import Contents
        from ..publish import engine
        from ..trace import tracer

        rest = sources[self.layers :]
        texts, records = rest[: len(rest) - len(self.runs)], rest[len(rest) - len(self.runs) :]
        contents = Contents()
        paths = sources[: self.layers]
        # Each is read to be hashed, and to be copied.
        files = [file for path in paths for file in stack.files(path)]
        progress.current().expect(2 * sum(map(os.path.getsize, files)))
        blobs = [blob for path in paths for blob in stack.read(path, contents.add)]
        settings = replace(self.settings, architecture=architecture(_machine(texts)))
        made = Image(settings, tuple(blob.layer for blob in blobs))
        contents.require(settings)
        read = [tracer.read_record(_content(path)) for path in records]
        permissions.require(contents, settings, dict(zip(self.runs, read, strict=True)))
        with replacing(targets[0]) as sink:
            archive.write(sink, made, [blob.path for blob in blobs], self.references)
        told = made.manifest.config.digest.short
        if engine.answers(self.address):
            return told
        shown = os.path.relpath(os.fsdecode(targets[0]))
        return f"{told}\nno engine answers at {self.address}: docker load -i {shown}"


def _machine(texts: Sequence[bytes]) -> int:
    """Return the EM_ number that the first of the ldd texts `texts` tells, or this machine's."""
    from ..elf import ldd_text, machines

    told = [ldd_text.machine_number(_content(path)) for path in texts[:1]]
    return next((machine for machine in told if machine is not None), machines.native_machine())


@dataclass(frozen=True)
class IndexStep(Step):
    """Join images of one platform each; target: the archive of a multi-platform image."""

    label = "INDEX"
    platforms: tuple[str, ...]
    """The architecture that each image has to have; empty where any will do."""
    references: tuple[Reference, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the index of the image archives `sources`, in their order."""
        from ..image import archive

        images = [archive.read(path) for path in sources]
        blobs = {each: blob for image in images for each, blob in image.blobs.items()}
        progress.current().expect(sum(blob.size for blob in blobs.values()))
        for image, wanted in zip(images, self.platforms, strict=bool(self.platforms)):
            if image.architecture != wanted:
                raise InputError(
                    f"index {show(image.path)} for {wanted}",
                    f"its program is for {image.architecture}",
                    "give the platform's own program and base",
                )
        with replacing(targets[0]) as sink:
            digest = archive.write_index(sink, images, self.references, self.annotations)
        return f"{digest.short} for {', '.join(image.architecture for image in images)}"


@dataclass(frozen=True)
class SbomStep(Step):
    """Tell what an image is made of; target: its bill of materials."""

    label = "SBOM"
    suffix: str
    """A key of `sbom.FORMS`."""
    top: bytes = field(repr=False)
    """The project's directory, absolute."""

    def tools(self) -> tuple[str, ...]:
        """Return the libraries that write the bill."""
        from ..inspect import sbom

        return (tools.libraries(*sbom.WRITERS[self.suffix]),)

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the bill of the file list `sources[0]` and the image archive `sources[1]`."""
        from ..image import archive
        from ..inspect import sbom

        entries, view = _laid_out(root, self.top, sources[0])
        bill = sbom.bill(view, entries, archive.read(sources[1]))
        write(targets[0], [sbom.write(bill, self.suffix)])
        form = sbom.FORMS[self.suffix]
        return f"{form}, {len(bill.files)} files of {len(bill.packages)} packages"


@dataclass(frozen=True)
class ReportStep(Step):
    """Tell of what is in an image; target: a page."""

    label = "PAGE"
    listing: ListStep
    """The step that made the list."""
    commands: tuple[tuple[str, str], ...]
    """Names and command lines of runs."""

    def tools(self) -> tuple[str, ...]:
        """Return what the findings of lint depend on."""
        return self.listing.tools()

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the page of a list and its layer, `sources[:2]`; the list's own sources follow."""
        from ..files import packages
        from ..image import stack
        from ..inspect import report

        entries, view = _laid_out(root, self.listing.top, sources[0])
        asked = self.listing.asked(view, sources[2:])
        commands = dict(self.commands)
        runs = [report.Run(name, commands.get(name, ""), record) for name, record in asked.runs()]
        findings = self.listing.findings(view, asked, entries)
        found = ((entry.path, packages.owner(view, entry)) for entry in entries)
        owners = {path: owned.package.name for path, owned in found if owned}
        contents = report.contents(stack.files(sources[1]))
        made = report.Report(self.name, entries, contents, runs, findings, owners)
        # What the last report told is part of this one; it decides over nothing that is built.
        earlier = _content(targets[0]) if os.path.exists(targets[0]) else b""
        write(targets[0], [report.page(made, earlier)])
        return f"{len(entries)} paths, {len(findings)} findings"


@dataclass(frozen=True)
class LoadStep(Step):
    """Give an image to an engine; targets: the ID that it has there, and the layers with it."""

    label = "LOAD"
    references: tuple[Reference, ...]
    address: str

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Load the archive `sources[0]`."""
        from ..publish import engine

        # What this image was, and other images of the tree are, need not be sent again.
        others = [targets[1], *_beside(targets[1], b".loaded")]
        loaded = engine.load(self.address, sources[0], [*filter(None, map(_recalled, others))])
        for reference in self.references:
            tag = f"{self.address} {reference.familiar}".encode()
            root.know(tag, Aspect.IMAGE, loaded.id.encode())
        write(targets[0], [loaded.id.encode() + b"\n"])
        write(targets[1], [loaded.text()])
        names = _few([each.familiar for each in self.references])
        return f"{names} {Digest(loaded.id).short}"


def _recalled(path: bytes) -> Loaded | None:
    """Return what the text `path`, which may be gone, tells of an image in an engine."""
    from ..publish.engine import Loaded

    with suppress(OSError):
        return Loaded.read(_content(path))
    return None


@dataclass(frozen=True)
class PushStep(Step):
    """Give an image to registries; target: a line for each tag, with the digest."""

    label = "PUSH"
    tags: tuple[Tag, ...]

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Push the archive `sources[0]`, of one image or an index."""
        from ..publish import push

        # What other images of the tree have brought can be mounted.
        for other in _beside(targets[0], b".pushed"):
            push.recall(other)
        if not self.tags:
            raise InputError(
                f"push {self.name}", "none of its tags names a registry", "write HOST/NAME:TAG"
            )
        pushed = push.push(sources[0], self.tags)
        for tag in self.tags:
            root.know(str(tag).encode(), Aspect.TAG, str(pushed.digest).encode())
        write(targets[0], [f"{tag.shown}@{pushed.digest}\n".encode() for tag in self.tags])
        shown = _few([tag.shown for tag in self.tags])
        return f"{shown} {pushed.digest.short}, sent {pushed.sent / 1e6:.1f} MB"


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
    """How many of the sources are layers or lists of such: the first ones."""
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

    def tools(self) -> tuple[str, ...]:
        """Return the tracer, and what decides which libraries are loaded."""
        return (
            tools.program(self.strace),
            tools.processor(),
        )

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Repeat each run in a root of its own, where this machine gives one, and in a container.

        ImageError when one does not go as it did when it was traced.
        """
        from ..fs.overlay import Overlay
        from ..image import stack
        from ..inspect import replay

        layers = [layer for path in sources[: self.layers] for layer in stack.files(path)]
        rest = iter(sources[self.layers :])
        trials = [self._trial(each, rest) for each in self.runs]
        view = Overlay(root, self.top)
        lists = [_extras(view, name, _content(next(rest))) for name in self.lists]
        left_out = tuple(rule for found in lists for rule in _left_out(found))
        trials = [replace(trial, left_out=left_out, root=root) for trial in trials]
        image = _content(next(rest)).decode().strip() if self.address else ""
        obstacle = _find_obstacle()
        if obstacle and not image:
            raise _with_choice(obstacle, "start a Docker engine")
        lines, contained = [], []
        for trial in trials:
            record = None if obstacle else replay.in_root(trial, layers, self.strace)
            if image and replay.in_container(trial, self.address, image):
                contained.append(trial.run.name)
            elif obstacle:
                raise SandboxError(*obstacle.args)
            lines.append(f"{replay.line(trial, record)}\n".encode())
        write(targets[0], lines)
        names = _few([trial.run.name for trial in trials])
        own = [] if obstacle else [f"{names} in a root of its own"]
        same = own and len(contained) == len(trials)
        there = f"{'' if same else _few(contained) + ' '}in a container"
        return " and ".join([*own, *([there] if contained else [])])

    def _trial(self, traced: Traced, sources: Iterator[bytes]) -> Trial:
        from ..inspect.replay import Trial
        from ..trace.tracer import read_record

        record, stdout = read_record(_content(next(sources))), _content(next(sources))
        run = replace(traced.command, stdin=next(sources) if traced.stdin else None)
        return Trial(self.name, run, traced.program, record, stdout)


@dataclass(frozen=True)
class SeccompStep(Step):
    """Collect the system calls of runs in their image; target: a profile for engines."""

    label = "CALLS"
    layers: int
    """How many of the sources are layers: the first ones."""
    runs: tuple[Traced, ...]
    """Their inputs are the next sources; the last ones are ldd texts, as for `ImageStep`."""
    strace: bytes
    """The strace program."""

    def tools(self) -> tuple[str, ...]:
        """Return the tracer, which names the calls, and the processor."""
        return (
            tools.program(self.strace),
            tools.processor(),
        )

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Carry out each run in a root of its own, which holds nothing but the layers."""
        from ..image import stack
        from ..inspect import seccomp

        if obstacle := _find_obstacle():
            raise SandboxError(*obstacle.args)
        layers = [layer for path in sources[: self.layers] for layer in stack.files(path)]
        rest = iter(sources[self.layers :])
        trials = []
        for each in self.runs:
            command = replace(each.command, stdin=next(rest) if each.stdin else None)
            trials.append(seccomp.Trial(command, each.program))
        machine = _machine(list(rest))
        seccomp.check(self.name, machine)
        names = seccomp.calls(self.name, trials, layers, self.strace)
        write(targets[0], [seccomp.profile(names, machine)])
        return f"{len(names)} system calls of {len(self.runs)} runs"


def _content(path: bytes) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


_ROOM = 40
"""Columns that names have in a line of 100, beside what else a step tells."""


def _few(names: Sequence[str]) -> str:
    """Return as many of `names` as a line has room for, and how many more there are."""
    shown = list(names[:1])
    for name in names[1:]:
        if len(", ".join([*shown, name])) > _ROOM:
            break
        shown.append(name)
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
