"""The libraries that a program needs, found as its loader finds them; nothing is executed."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from ..errors import ElfError, InputError
from ..fs.paths import escape, join, show, unescape
from ..fs.root import Root
from .link_map import Library, LinkMap, Missing
from .machines import machine
from .reader import SCRIPT_HEAD, Elf, ElfFile, ElfFiles, is_elf
from .search_path import LoadedFile, Loaders, loader_path
from .shebang import EnvCommand, command_of_env, interpreter_chain

MAX_INTERPRETERS = 5
"""``#!`` lines that the kernel follows for one program (fs/exec.c)."""

_SET_ID = 0o6000

_NO_ENVIRONMENT: Mapping[bytes, bytes] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Closure:
    """All files that are opened before the first instruction of a program runs."""

    path: bytes
    interpreters: tuple[bytes, ...]
    """Interpreters that the ``#!`` lines name, in order; the last one is an ELF file."""
    machine: int
    """EM_ number of the ELF file that runs."""
    loader: bytes | None
    """PT_INTERP of that file."""
    static: bool
    """Whether it runs without loader and libraries."""
    libraries: tuple[Library, ...]
    """In the loader's order, breadth first; then the variants with their libraries."""
    missing: tuple[Missing, ...]

    @property
    def program(self) -> bytes:
        """Path of the ELF file that runs: the last interpreter, or `path` itself."""
        return (self.path, *self.interpreters)[-1]


class Closures:
    """The closures of the programs of an image, and of the libraries that they load while they run.

    A library that a program loads by dlopen(3) finds others where the program does: among those
    that are loaded already, and by the program's DT_RPATH. The DT_RPATH of another file that calls
    dlopen(3) counts for the name in that call, and not for what the library needs.
    """

    def __init__(self, root: Root, environment: Mapping[bytes, bytes] = _NO_ENVIRONMENT) -> None:
        """Of `environment` LD_LIBRARY_PATH and LD_PRELOAD count, and PATH for ``env``."""
        self._root = root
        self._environment = environment
        self._files = ElfFiles(root)
        self._loaders = Loaders(root)
        self._maps: list[LinkMap] = []

    def order(self, paths: Iterable[bytes]) -> list[bytes]:
        """Return `paths` in the order for `find`: first the programs, then their plugins.

        Libraries that others of `paths` need come last: those others are how they are loaded.
        """
        chosen = list(paths)
        libraries = {path: elf for path in chosen if (elf := self._library(path)) is not None}
        needed = {name for elf in libraries.values() for name in elf.needed}

        def rank(path: bytes) -> int:
            if path not in libraries:
                return 0
            return 2 if {os.path.basename(path), libraries[path].soname} & needed else 1

        return sorted(chosen, key=rank)

    def find(self, path: bytes) -> list[Closure]:
        """Return the closure of `path`, and those of the programs that ``env`` starts for it.

        A program that ``env`` does not find is missing from the closure of its script. ElfError
        when `path` cannot run, or a file on the way is no ELF file.
        """
        environment = self._environment
        found: list[Closure] = []
        while path not in {each.path for each in found}:
            each = self._closure(path, environment)
            scripts = (path, *each.interpreters)[:-1]
            command = self._env_command(scripts[-1], environment) if scripts else None
            program = command and command.find(self._root)
            if command and not program:
                places = tuple(environment.get(b"PATH", b"").split(b":"))
                absent = Missing(command.name, scripts[-1], places)
                each = replace(each, missing=(*each.missing, absent))
            found.append(each)
            if not command or not program:
                break
            path, environment = program, command.environment
        return found

    def _env_command(self, script: bytes, environment: Mapping[bytes, bytes]) -> EnvCommand | None:
        """Return the program that ``env`` starts for `script`; None where its line has no env."""
        with self._root.open(self._root.walk(script).real) as stream:
            return command_of_env(stream.read(SCRIPT_HEAD), environment)

    def _library(self, path: bytes) -> Elf | None:
        """Return the library `path`; None for a program, a script, and a file that is broken."""
        try:
            found = self._files.find(path)
        except ElfError:
            return None
        return found.elf if found is not None and _is_library(found.elf) else None

    def _closure(self, path: bytes, environment: Mapping[bytes, bytes]) -> Closure:
        chain = _interpreters(self._root, path)
        file = self._files.find(chain[-1])
        assert file is not None, "it has just been read"
        elf = file.elf
        static = elf.interpreter is None and not elf.needed
        load = None if static else self._load(chain[-1], file, environment)
        return Closure(
            path=path,
            interpreters=tuple(chain[1:]),
            machine=elf.machine,
            loader=None if elf.interpreter is None else join(b"/", elf.interpreter),
            static=static,
            libraries=tuple(load.libraries) if load else (),
            missing=tuple(load.missing.values()) if load else (),
        )

    def _load(self, path: bytes, file: ElfFile, environment: Mapping[bytes, bytes]) -> LinkMap:
        """Load `file`: if it is a library, in the first process where it misses nothing."""
        # The kernel resolves links and starts the program; dlopen(3) takes the path as it is.
        opened = path if _is_library(file.elf) else file.real
        tried: list[LinkMap] = []
        for process, caller in self._scopes(file, tried):
            start = LoadedFile(path, os.path.dirname(opened), file.elf, caller)
            loader = self._loaders.get(loader_path(file.elf), file.elf.bits)
            secure = bool(file.mode & _SET_ID)
            load = LinkMap(self._files, loader, start, environment, secure=secure, process=process)
            load.run()
            tried.append(load)
            if not load.missing:
                break
        best = tried[0] if tried[-1].missing else tried[-1]
        self._maps.append(best)
        return best

    def _scopes(
        self, file: ElfFile, tried: Sequence[LinkMap]
    ) -> Iterator[tuple[LinkMap | None, LoadedFile | None]]:
        """Yield the processes that may load `file`, each with the file in it that does.

        Likely ones come first; `tried` has the loads in those before.
        """
        loads = self._maps if _is_library(file.elf) else ()
        same = [load for load in loads if load.start.elf.abi == file.elf.abi]
        for load in same:
            if file.inode in load.files:
                yield load, load.files[file.inode].by
        for load in same:
            if not _is_library(load.start.elf) and (not tried or load.may_find(tried[0].missing)):
                yield load, load.start
        yield None, None


def _is_library(elf: Elf) -> bool:
    """Tell whether a program loads it: libc and the loader start as programs, too."""
    return elf.interpreter is None or elf.soname is not None


def require(missing: Collection[Missing]) -> None:
    """Raise ElfError when there is a library, or the loader of a program, in `missing`."""
    for each in missing:
        if each.is_loader:
            raise ElfError(
                f"run {show(each.needed_by)}",
                f"its loader {show(each.name)} does not exist",
                "install it, or build the program for the loader of its root",
            )
    if missing:
        causes = (
            f"{show(each.needed_by)} needs {show(each.name)} "
            f"(searched: {', '.join(map(show, each.searched)) or 'nowhere'})"
            for each in missing
        )
        raise ElfError(
            f"find {', '.join(show(each.name) for each in missing)}",
            ", ".join(causes),
            "install its package, stage it, add its directory to the runpath, or add a run that "
            "loads it",
        )


def _interpreters(root: Root, path: bytes) -> list[bytes]:
    """Return `path` and the interpreters that its ``#!`` line and theirs name, an ELF file last."""
    chain: list[bytes] = []
    for each, head in interpreter_chain(root, path):
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
                "install it or fix the #! line",
            )
        chain.append(each)
    if head is None or not is_elf(head):
        raise ElfError(
            f"run {show(chain[-1])}",
            "it is neither an ELF file nor a script with #!",
            "name a program, or give the script its #! line",
        )
    return chain


# The text of closures: that of ldd(1), with the user of each file in the place of addresses.
#
#   /usr/bin/cat:
#   <tab>machine 62 (x86_64)
#   <tab>libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (needed by /usr/bin/cat)
#   <tab>/lib64/ld-linux-x86-64.so.2 (loader of /usr/bin/cat)


@dataclass(frozen=True, slots=True)
class LddRow:
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
    rb"(?: \(needed by (?P<by>\S+?)(?:, looked for in (?P<searched>.+))?\))?"
)
_NO_FILE = re.compile(
    rb"\t(?:linux-(?:vdso|gate)\S* (?:=> *)?\(%s\)|machine [0-9]+ \([^()]*\)|statically linked|"
    rb"not a dynamic executable)|ldd: warning: .*" % _ADDRESS
)
_MACHINE = re.compile(rb"^\tmachine ([0-9]{1,5}) \(", re.MULTILINE)
_LOADER = re.compile(rb".*/ld(?:-|64|\.so)[^/]*", re.DOTALL)
_KINDS = {b"interpreter of": "interpreter", b"loader of": "loader"}


def closures_text(closures: Sequence[Closure]) -> bytes:
    """Return `closures` as ldd(1) would print them, each with its header line."""
    return b"".join(line + b"\n" for found in closures for line in _lines(found))


def _lines(found: Closure) -> Iterator[bytes]:
    yield escape(found.path) + b":"
    name = machine(found.machine).name.encode()
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
        searched = b", looked for in " + b", ".join(map(escape, missing.searched))
        yield b"\t%s => not found (needed by %s%s)" % (
            escape(missing.name), escape(missing.needed_by), searched if missing.searched else b""
        )  # fmt: skip
    if found.loader is not None:
        yield b"\t%s (loader of %s)" % (escape(found.loader), escape(found.program))
    if found.static:
        yield b"\tstatically linked"


def read_closures(text: bytes, name: str = "ldd text") -> tuple[LddRow, ...]:
    """Return the paths in `text` (hostile): of `write`, or as ldd(1) printed it.

    With one program ldd prints no header line: then no row names the program. Missing libraries
    are left to `read_missing`. InputError names the line that is no line of ldd.
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
    """Return the libraries that `text`, as for `read`, names as not found."""
    missing = []
    program = b"the program"
    for line in text.split(b"\n"):
        found = _MISSING.fullmatch(line)
        if found:
            by = program if found["by"] is None else unescape(found["by"])
            searched = found["searched"].split(b", ") if found["searched"] else []
            missing.append(Missing(unescape(found["name"]), by, tuple(map(unescape, searched))))
        elif line[:1] == b"/":
            program = unescape(line.removesuffix(b":"))
    return tuple(missing)


def machine_number(text: bytes) -> int | None:
    """Return the EM_ number of the first program in `text` (hostile); None in a text of ldd(1)."""
    found = _MACHINE.search(text)
    return int(found[1]) if found else None


def _row(line: bytes, program: bytes | None, where: str) -> LddRow:
    entry = _ENTRY.fullmatch(line)
    if entry:
        absolute = entry["name"] is not None and entry["name"].startswith(b"/")
        path = unescape(entry["name"] if absolute else entry["path"])
        kind = _KINDS.get(entry["word"], "library")
        if entry["word"] is None and _LOADER.fullmatch(path):
            kind = "loader"
        row: LddRow | None = LddRow(
            kind, path, program if entry["by"] is None else unescape(entry["by"])
        )
    else:
        is_header = line.startswith(b"/") and line.endswith(b":")
        row = LddRow("program", unescape(line[:-1]), None) if is_header else None
    if row is None or b"\0" in row.path:
        raise InputError(
            f"read {where}",
            "it is not a line of ldd with an absolute path",
            "run ldd with absolute paths and keep its output as it is",
        )
    return row
