r"""The shared libraries that a program needs, found as its loader finds them; nothing is executed.

The text of a closure is what ldd(1) prints, with who needs it in the place of addresses::

    /usr/bin/cat:
    \tmachine 62 (x86_64)
    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (needed by /usr/bin/cat)
    \t/lib64/ld-linux-x86-64.so.2 (loader of /usr/bin/cat)
"""

from __future__ import annotations

import functools
import os
import re
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from ..errors import ElfError, InputError
from ..fs.paths import escape, join, show, unescape
from ..fs.root import Aspect, Kind, Root
from . import reader as elf_file
from . import search_path
from .reader import SCRIPT_HEAD, DlopenNote, Elf, is_elf
from .search_path import Candidate, Loaded
from .shebang import command_of_env, heads

MAX_INTERPRETERS = 5
"""``#!`` lines that the kernel follows for one program (fs/exec.c)."""

_SET_ID = 0o6000

_NO_ENVIRONMENT: Mapping[bytes, bytes] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Library:
    """A file that the loader opens."""

    name: bytes
    """As it is needed: usually a soname."""
    path: bytes
    """As the loader opens it: links are not resolved."""
    needed_by: bytes
    """Path of the file that needs it first."""
    variant: bool = False
    """Whether only machines with another processor load it."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A library that the loader would not find."""

    name: bytes
    needed_by: bytes
    """Path of the file that needs it first."""
    looked: tuple[bytes, ...]
    """Directories that were searched, in order."""


@dataclass(frozen=True, slots=True)
class Dlopen:
    """What a file of the closure may load by dlopen(3)."""

    needed_by: bytes
    """Path of the file that says so."""
    note: DlopenNote


@dataclass(frozen=True, slots=True)
class Closure:
    """What is opened before the first instruction of a program runs."""

    path: bytes
    interpreters: tuple[bytes, ...]
    """Interpreters that the ``#!`` lines name, in order; the last one is an ELF file."""
    machine: int
    """EM_ number of the ELF file that runs."""
    loader: bytes | None
    """PT_INTERP of that file."""
    static: bool
    """Whether it needs neither loader nor libraries."""
    libraries: tuple[Library, ...]
    """In the loader's order, breadth first; then variants and what these need."""
    missing: tuple[Missing, ...]
    dlopen: tuple[Dlopen, ...]

    @property
    def program(self) -> bytes:
        """Path of the ELF file that runs: the last interpreter, or `path` itself."""
        return (self.path, *self.interpreters)[-1]


def closure(
    root: Root, path: bytes, environment: Mapping[bytes, bytes] = _NO_ENVIRONMENT
) -> Closure:
    """Return the closure of the program or library `path` in `root`.

    Of `environment` LD_LIBRARY_PATH and LD_PRELOAD count, unless the program is set-id.
    ElfError when `path` cannot run or a file on the way is no ELF file.
    """
    chain = _interpreters(root, path)
    where = root.walk(chain[-1], aspect=Aspect.CONTENT)
    elf = _read(root, where.real)
    program = Loaded(chain[-1], os.path.dirname(where.real), elf)
    static = elf.interpreter is None and not elf.needed
    secure = where.status is not None and bool(where.status.mode & _SET_ID)
    load = _Load(root, program, environment, secure=secure)
    if not static:
        load.run()
    return Closure(
        path=path,
        interpreters=tuple(chain[1:]),
        machine=elf.machine,
        loader=None if elf.interpreter is None else join(b"/", elf.interpreter),
        static=static,
        libraries=tuple(load.libraries),
        missing=tuple(load.missing.values()),
        dlopen=tuple(Dlopen(each.path, note) for each in load.files for note in each.elf.dlopen),
    )


def closures(root: Root, path: bytes, environment: Mapping[bytes, bytes]) -> list[Closure]:
    """Return the closure of `path`, and those of the programs that ``env`` starts for it.

    A program that ``env`` does not find is missing from the closure of its script.
    """
    found: list[Closure] = []
    while path not in {each.path for each in found}:
        each = closure(root, path, environment)
        script = (path, *each.interpreters)[-2:][0]
        with root.open(root.walk(script).real) as stream:
            command = command_of_env(stream.read(SCRIPT_HEAD), environment)
        program = command and command.find(root)
        if command and not program:
            places = tuple(environment.get(b"PATH", b"").split(b":"))
            each = replace(each, missing=(*each.missing, Missing(command.name, script, places)))
        found.append(each)
        if not command or not program:
            break
        path, environment = program, command.environment
    return found


def require(missing: Collection[Missing]) -> None:
    """Raise ElfError when there is a library in `missing`."""
    if missing:
        each = "; ".join(
            f"{show(one.name)}: needed by {show(one.needed_by)}, "
            f"looked for {'in ' if one.looked else 'nowhere'}{', '.join(map(show, one.looked))}"
            for one in missing
        )
        raise ElfError(
            f"cannot find {each}; install its package, stage it, add its directory to "
            "the runpath, or add a run that loads it"
        )


def _interpreters(root: Root, path: bytes) -> list[bytes]:
    """Return `path` and the interpreters that its ``#!`` line and theirs name, an ELF file last."""
    chain: list[bytes] = []
    for each, head in heads(root, path):
        if len(chain) > MAX_INTERPRETERS:
            raise ElfError(
                f"run {show(path)}",
                f"more than {MAX_INTERPRETERS} interpreters follow from its #! line",
                "name one that is a program",
            )
        if head is None and not chain:
            raise ElfError(f"run {show(path)}", "it does not exist", "build or install it")
        if head is None:
            raise ElfError(
                f"run {show(chain[-1])}",
                f"its interpreter {show(each)} does not exist",
                "install it or mend the #! line",
            )
        chain.append(each)
    if head is None or not is_elf(head):
        raise ElfError(
            f"run {show(chain[-1])}",
            "it is neither an ELF file nor a script with #!",
            "name a program, or give the script its #! line",
        )
    return chain


_files: dict[bytes, tuple[search_path.Identity, Elf]] = {}
"""By path on the machine: many programs need the same libraries."""


def _read(root: Root, real: bytes) -> Elf:
    machine = root.machine(real)
    with root.open(real) as stream:
        key = search_path.identity(stream)
        if machine not in _files or _files[machine][0] != key:
            _files[machine] = key, elf_file.read(stream, real)
    return _files[machine][1]


@dataclass(frozen=True, slots=True)
class _Found:
    """A file that would do for a name that a file needs."""

    name: bytes
    by: Loaded
    candidate: Candidate
    inode: tuple[int, int]
    elf: Elf


class _Load:
    """One program as it is being loaded."""

    def __init__(
        self, root: Root, program: Loaded, environment: Mapping[bytes, bytes], *, secure: bool
    ) -> None:
        self.root = root
        self.program = program
        self.environment = environment
        self.secure = secure
        self.files = [program]
        self.libraries: list[Library] = []
        self.missing: dict[bytes, Missing] = {}
        self._done = 0
        self._names: set[bytes] = set()
        self._inodes: set[tuple[int, int]] = set()
        self._absent: dict[bytes, bool] = {}
        self._variants: deque[_Found] = deque()

    @functools.cached_property
    def search(self) -> search_path.Glibc | search_path.Musl:
        """The rules of the program's loader."""
        return search_path.rules(self.root, self.program, self.environment, secure=self.secure)

    def run(self) -> None:
        """Load all that the program needs, then all that other processors would load instead."""
        self._start()
        for name in self._extras():
            self._need(name, self.program, optional=True)
        self._drain()
        while self._variants:
            self._keep(self._variants.popleft(), variant=True)
            self._drain(variant=True)

    def _start(self) -> None:
        """Enter the program and its loader, which the kernel opens."""
        self._know(self.program.path, self.program.elf)
        loader = self.program.elf.interpreter
        if loader is None:
            return
        found = self.root.walk(loader, aspect=Aspect.CONTENT)
        if found.status is None:
            looked = (os.path.dirname(loader),)
            self.missing[loader] = Missing(loader, self.program.path, looked)
            return
        self._inodes.add(found.status.inode)
        self._know(loader, _read(self.root, found.real))

    def _extras(self) -> Iterator[bytes]:
        """Yield the names that are loaded first; the program starts without them, too."""
        if self.search.is_gnu:
            for audit in self.program.elf.audits:
                yield from filter(None, audit.split(b":"))
        yield from search_path.preloads(self.root, self.environment, self.search)

    def _drain(self, *, variant: bool = False) -> None:
        """Load what the files at the end of the list need, and what that needs."""
        while self._done < len(self.files):
            by = self.files[self._done]
            self._done += 1
            filters = by.elf.filters if self.search.is_gnu else ()
            for name in by.elf.needed + filters:
                self._need(name, by, variant=variant)
            for name in by.elf.auxiliaries if self.search.is_gnu else ():
                self._need(name, by, variant=variant, optional=True)
            for note in by.elf.dlopen:
                if note.priority == "required":
                    self._need_one(note.sonames, by, variant=variant)

    def _need_one(self, names: Sequence[bytes], by: Loaded, *, variant: bool) -> None:
        """Load the first of `names` that is there: all of them serve `by` alike."""
        for name in names:
            self._need(name, by, variant=variant, optional=True)
            if self.search.expand(name, by) in self._names:
                return
        for name in names[:1]:
            self._need(name, by, variant=variant)

    def _need(
        self, name: bytes, by: Loaded, *, variant: bool = False, optional: bool = False
    ) -> None:
        """Load `name` for `by`; if it is not `optional`, its absence is noted."""
        name = self.search.expand(name, by)
        if name in self._names or name in self.missing or self.search.is_loader(name):
            return
        matches = list(self._matches(name, by))
        usable = [match for match in matches if self.search.can_use(match.candidate)]
        if usable:
            self._keep(usable[0], variant=variant)
            self._variants += [match for match in matches if match is not usable[0]]
        elif not optional:
            paths = [each.path for each in self.search.candidates(name, by) if not each.level]
            looked = dict.fromkeys(os.path.dirname(path) for path in paths)
            self.missing[name] = Missing(name, by.path, tuple(looked))

    def _matches(self, name: bytes, by: Loaded) -> Iterator[_Found]:
        """Yield the files that would do, up to the first that every processor can run.

        So the files are the same ones on all build machines, whichever of them is loaded there.
        """
        for candidate in self.search.candidates(name, by):
            match = self._match(name, by, candidate)
            if match is not None:
                yield match
                if candidate.level is None:
                    return

    def _match(self, name: bytes, by: Loaded, candidate: Candidate) -> _Found | None:
        if candidate.level is not None and self._is_absent(os.path.dirname(candidate.path)):
            return None
        found = self.root.walk(candidate.path, aspect=Aspect.CONTENT)
        if found.status is None or found.status.kind is not Kind.FILE:
            return None
        elf = _read(self.root, found.real)
        if elf.abi != self.program.elf.abi:
            return None
        return _Found(name, by, candidate, found.status.inode, elf)

    def _is_absent(self, directory: bytes) -> bool:
        if directory not in self._absent:
            self._absent[directory] = self.root.walk(directory).status is None
        return self._absent[directory]

    def _keep(self, found: _Found, *, variant: bool) -> None:
        """Put a library on the list; load it, unless it is loaded under another path."""
        path = found.candidate.path
        self.libraries.append(Library(found.name, path, found.by.path, variant))
        self._know(found.name, found.elf)
        if found.inode not in self._inodes:
            self._inodes.add(found.inode)
            self.files.append(Loaded(path, os.path.dirname(path), found.elf, found.by))

    def _know(self, name: bytes, elf: Elf) -> None:
        """Note the names that need no search any more."""
        self._names.add(name)
        if elf.soname is not None and self.search.is_gnu:
            self._names.add(elf.soname)


@dataclass(frozen=True, slots=True)
class Row:
    """A path that an ldd text names."""

    kind: str
    """``program``, ``interpreter`` (of a script), ``loader`` or ``library``."""
    path: bytes
    needed_by: bytes | None
    """Path of the file that needs it, as far as the text tells; None for a program."""


_ADDRESS = rb"0x[0-9a-f]+"
_REASON = rb"(?P<word>interpreter of|loader of|(?:variant, )?needed by) (?P<by>\S+)"
_ENTRY = re.compile(
    rb"\t(?:(?P<name>.*?) => )?(?P<path>/.*?)(?: \((?:%s|%s)\))?" % (_ADDRESS, _REASON)
)
_MISSING = re.compile(
    rb"\t(?P<name>.*?) => not found"
    rb"(?: \(needed by (?P<by>\S+?)(?:, looked for in (?P<looked>.+))?\))?"
)
_NO_FILE = re.compile(
    rb"\t(?:linux-(?:vdso|gate)\S* (?:=> *)?\(%s\)|machine [0-9]+ \([^()]*\)|statically linked|"
    rb"not a dynamic executable)|ldd: warning: .*" % _ADDRESS
)
_MACHINE = re.compile(rb"^\tmachine ([0-9]{1,5}) \(", re.MULTILINE)
_LOADER = re.compile(rb".*/ld(?:-|64|\.so)[^/]*", re.DOTALL)
_KINDS = {b"interpreter of": "interpreter", b"loader of": "loader"}


def write_ldd(closures: Sequence[Closure]) -> bytes:
    """Return `closures` as ldd(1) would print them, each with its header line."""
    return b"".join(line + b"\n" for found in closures for line in _lines(found))


def _lines(found: Closure) -> Iterator[bytes]:
    yield escape(found.path) + b":"
    name = elf_file.machine_name(found.machine).encode()
    yield b"\tmachine %d (%s)" % (found.machine, name)
    users = (found.path, *found.interpreters)
    for path, user in zip(found.interpreters, users, strict=False):
        yield b"\t%s (interpreter of %s)" % (escape(path), escape(user))
    for library in found.libraries:
        why = b"variant, needed by" if library.variant else b"needed by"
        yield b"\t%s => %s (%s %s)" % (
            escape(library.name), escape(library.path), why, escape(library.needed_by)
        )  # fmt: skip
    for missing in found.missing:
        looked = b", looked for in " + b", ".join(map(escape, missing.looked))
        yield b"\t%s => not found (needed by %s%s)" % (
            escape(missing.name), escape(missing.needed_by), looked if missing.looked else b""
        )  # fmt: skip
    if found.loader is not None:
        yield b"\t%s (loader of %s)" % (escape(found.loader), escape(found.program))
    if found.static:
        yield b"\tstatically linked"


def read_ldd(text: bytes, name: str = "ldd text") -> tuple[Row, ...]:
    """Return the paths in `text` (hostile): of `write_ldd`, or as ldd(1) printed it.

    With one program ldd prints no header line: then no row names the program. `read_missing` tells
    of missing libraries. InputError names the line that is not understood.
    """
    rows = []
    program = None
    for number, line in enumerate(text.split(b"\n"), 1):
        if not line or _NO_FILE.fullmatch(line) or _MISSING.fullmatch(line):
            continue
        row = _row(line, program, f"{name}, line {number}")
        program = row.path if row.kind == "program" else program
        rows.append(row)
    if not text.strip():
        raise InputError(
            f"read {name}", "it is empty", "delete it, and write it again by ldd or build it"
        )
    return tuple(rows)


def read_missing(text: bytes) -> tuple[Missing, ...]:
    """Return the libraries that `text`, as for `read_ldd`, tells are not found."""
    missing = []
    program = b"the program"
    for line in text.split(b"\n"):
        found = _MISSING.fullmatch(line)
        if found:
            by = program if found["by"] is None else unescape(found["by"])
            looked = found["looked"].split(b", ") if found["looked"] else []
            missing.append(Missing(unescape(found["name"]), by, tuple(map(unescape, looked))))
        elif line[:1] == b"/":
            program = unescape(line.removesuffix(b":"))
    return tuple(missing)


def machine_of(text: bytes) -> int | None:
    """Return the EM_ number of the first program in the ldd text `text` (hostile).

    None when it does not tell: only `write_ldd` does.
    """
    found = _MACHINE.search(text)
    return int(found[1]) if found else None


def _row(line: bytes, program: bytes | None, where: str) -> Row:
    entry = _ENTRY.fullmatch(line)
    if entry:
        absolute = entry["name"] is not None and entry["name"].startswith(b"/")
        path = unescape(entry["name"] if absolute else entry["path"])
        kind = _KINDS.get(entry["word"], "library")
        if entry["word"] is None and _LOADER.fullmatch(path):
            kind = "loader"
        row = Row(kind, path, program if entry["by"] is None else unescape(entry["by"]))
    else:
        row = Row("program", unescape(line.removesuffix(b":")), None)
        if not line.startswith(b"/") or not line.endswith(b":"):
            raise _not_understood(where)
    if b"\0" in row.path:
        raise _not_understood(where)
    return row


def _not_understood(where: str) -> InputError:
    return InputError(
        f"read {where}",
        "it is not a line of ldd with an absolute path",
        "run ldd with absolute paths and keep its output as it is",
    )
