"""Reader of executable files: ELF headers and ``#!`` lines; nothing is executed.

Sources: elf(5), the System V gABI chapter 5, https://uapi-group.org/specifications/specs/elf_dlopen_metadata/
and for the limits fs/binfmt_elf.c and fs/binfmt_script.c of Linux.
"""

from __future__ import annotations

import functools
import io
import json
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from ..errors import ElfError
from ..fs.lookup import FileKind
from ..fs.paths import join, show
from ..fs.root import Aspect, Root
from .machines import machine

SCRIPT_HEAD = 256
"""Bytes of a file that the kernel looks at to tell what it is (BINPRM_BUF_SIZE)."""

HEAD = 20
"""Bytes of an ELF file that tell the machine it is for."""

_MAX_HEADERS = 1 << 16
"""Bytes of program headers that the kernel accepts; here the limit of any segment read, too."""

_MAX_STRING = 1 << 14
"""Longest string read; a search path is a list, so it may pass PATH_MAX."""

_DLOPEN_OWNER = b"FDO\0"
_DLOPEN_TYPE = 0x407C0C0A

_SCRIPT = re.compile(rb"#![ \t]*([^ \t\n\0]+)(.?)", re.DOTALL)

_BITS = {b"\1": 32, b"\2": 64}
_ORDERS = {b"\1": "<", b"\2": ">"}
"""By the bytes EI_CLASS and EI_DATA of a file."""

_NODEFLIB = 0x800
"""DF_1_NODEFLIB of DT_FLAGS_1."""

_STRINGS = (
    *("DT_NEEDED", "DT_SONAME", "DT_RPATH", "DT_RUNPATH"),
    *("DT_FILTER", "DT_AUXILIARY", "DT_AUDIT", "DT_DEPAUDIT"),
)

_TAGS = (*_STRINGS, "DT_NULL", "DT_STRTAB", "DT_FLAGS_1")
"""Entries of the dynamic table that are read; some of their numbers have other names, too."""


@dataclass(frozen=True, slots=True)
class Elf:
    """The fields of one ELF file that the kernel and the loader read."""

    bits: int
    """32 or 64."""
    little_endian: bool
    machine: int
    """``e_machine``: the EM_ number of the architecture."""
    interpreter: bytes | None
    """PT_INTERP: path of the loader that the kernel starts."""
    soname: bytes | None
    needed: tuple[bytes, ...]
    """DT_NEEDED, in the order of the table."""
    rpath: bytes | None
    runpath: bytes | None
    flags_1: int
    """DT_FLAGS_1."""
    filters: tuple[bytes, ...]
    """DT_FILTER: libraries that must be there to stand in for this one."""
    auxiliaries: tuple[bytes, ...]
    """DT_AUXILIARY: as DT_FILTER, but they may be missing."""
    audits: tuple[bytes, ...]
    """DT_AUDIT and DT_DEPAUDIT, each a list with ``:`` between its names."""
    dlopen: tuple[tuple[bytes, ...], ...]
    """Libraries that ``.note.dlopen`` requires: each by its alternatives, the best first."""

    @property
    def abi(self) -> tuple[int, bool, int]:
        """The property that two files must share to be loaded into one process."""
        return self.bits, self.little_endian, self.machine

    @property
    def machine_name(self) -> str:
        """The usual name of its machine."""
        return machine(self.machine).name

    @property
    def avoids_default_directories(self) -> bool:
        """Whether it was linked with ``-z nodefaultlib``."""
        return bool(self.flags_1 & _NODEFLIB)


def is_elf(head: bytes) -> bool:
    """Tell whether `head`, the first bytes of a file, starts an ELF file."""
    return head.startswith(b"\x7fELF")


def machine_of(head: bytes) -> int | None:
    """Return the EM_ number in the first HEAD bytes of a file; None if it is no ELF file."""
    if not is_elf(head) or len(head) < HEAD:
        return None
    return int.from_bytes(head[18:HEAD], "big" if head[5] == 2 else "little")


def interpreter_of_script(head: bytes) -> bytes | None:
    """Return the path after ``#!`` in the first SCRIPT_HEAD bytes of a file; None without one.

    As fs/binfmt_script.c: a path that may go on after these bytes is none.
    """
    seen = head[:SCRIPT_HEAD]
    found = _SCRIPT.match(seen)
    if not found or (len(seen) == SCRIPT_HEAD and not found[2]):
        return None
    return found[1]


Identity = tuple[int, int, int, int, int]


def identity(stream: BinaryIO) -> Identity:
    """Return what changes when the open file is replaced or written: a key for its content."""
    found = os.fstat(stream.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def read(stream: BinaryIO, path: bytes) -> Elf:
    """Return what the seekable `stream` (hostile) holds; `path` is its name in messages.

    ElfError when it is not an ELF file, or cut short, or says what no loader would take.
    """
    from elftools.common.exceptions import ELFError as ParseError

    try:
        return _Reader(stream).elf()
    except (ParseError, OSError, OverflowError, RecursionError, ValueError) as error:
        is_rule = isinstance(error, _MalformedError)
        cause = str(error) if is_rule else "it is cut short or malformed"
        raise ElfError(f"read ELF file {show(path)}", cause, "build or install it again") from error


class _MalformedError(ValueError):
    """A file breaks a rule that is checked here; the text is the cause."""


class _Reader:
    """Reads one file: pyelftools knows the structures, this class where they lie.

    Its own file and segment classes are passed by: they make the structures again for each file,
    read section headers, which loaders never see, and decode names as UTF-8, which they need not
    be. Together they take ten times as long.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        mark = self._bytes(0, 6)
        if not is_elf(mark) or mark[4:5] not in _BITS or mark[5:6] not in _ORDERS:
            raise ValueError
        self.bits = _BITS[mark[4:5]]
        self.order = _ORDERS[mark[5:6]]
        self.structures = _structures(self.bits, self.order)
        self.header = _parse(self.structures.Elf_Ehdr, stream, 0)
        self.segments: list[Any] = self._segments()

    def elf(self) -> Elf:
        tags = self._tags()
        strings = self._strings(tags)
        audits = strings.get("DT_DEPAUDIT", []) + strings.get("DT_AUDIT", [])
        return Elf(
            bits=self.bits,
            little_endian=self.order == "<",
            machine=self._machine(),
            interpreter=self._interpreter(),
            soname=_last(strings, "DT_SONAME"),
            needed=tuple(strings.get("DT_NEEDED", ())),
            rpath=_last(strings, "DT_RPATH"),
            runpath=_last(strings, "DT_RUNPATH"),
            flags_1=next((value for tag, value in tags if tag == "DT_FLAGS_1"), 0),
            filters=tuple(strings.get("DT_FILTER", ())),
            auxiliaries=tuple(strings.get("DT_AUXILIARY", ())),
            audits=tuple(audits),
            dlopen=tuple(self._dlopen()),
        )

    def _machine(self) -> int:
        from elftools.elf.enums import ENUM_E_MACHINE

        machine = self.header.e_machine
        return int(ENUM_E_MACHINE.get(machine, machine))

    def _segments(self) -> list[Any]:
        header = self.header
        if header.e_phnum * header.e_phentsize > _MAX_HEADERS:
            raise _MalformedError("it has more program headers than the kernel takes")
        table = io.BytesIO(self._bytes(header.e_phoff, header.e_phnum * header.e_phentsize))
        return [
            _parse(self.structures.Elf_Phdr, table, index * header.e_phentsize)
            for index in range(header.e_phnum)
        ]

    def _of_type(self, kind: str) -> list[Any]:
        return [segment for segment in self.segments if segment.p_type == kind]

    def _bytes(self, offset: int, size: int) -> bytes:
        self.stream.seek(offset)
        return self.stream.read(size)

    def _segment_bytes(self, segment: Any) -> bytes:
        data = self._bytes(segment.p_offset, min(segment.p_filesz, _MAX_HEADERS + 1))
        if len(data) != segment.p_filesz:
            raise _MalformedError(f"its {segment.p_type} segment is cut short or too long")
        return data

    def _interpreter(self) -> bytes | None:
        segments = self._of_type("PT_INTERP")
        return self._segment_bytes(segments[0]).partition(b"\0")[0] if segments else None

    def _tags(self) -> list[tuple[str, int]]:
        """Return the names of the dynamic table's entries, and their values, up to its end."""
        from elftools.elf.enums import ENUM_D_TAG_COMMON

        segments = self._of_type("PT_DYNAMIC")
        data = self._segment_bytes(segments[0]) if segments else b""
        entry = struct.Struct(self.order + ("qQ" if self.bits == 64 else "iI"))
        names = {number: name for name, number in ENUM_D_TAG_COMMON.items() if name in _TAGS}
        whole = data[: len(data) - len(data) % entry.size]
        found = [(names.get(tag, ""), value) for tag, value in entry.iter_unpack(whole)]
        return found[: next((n for n, (tag, _) in enumerate(found) if tag == "DT_NULL"), None)]

    def _strings(self, tags: list[tuple[str, int]]) -> dict[str, list[bytes]]:
        """Return the strings that each kind of tag names, in the order of the table."""
        named = [(tag, value) for tag, value in tags if tag in _STRINGS]
        if not named:
            return {}
        address = next((value for tag, value in tags if tag == "DT_STRTAB"), None)
        if address is None:
            raise _MalformedError("its dynamic table has names but no string table")
        start = self._offset(address)
        strings: dict[str, list[bytes]] = {}
        for tag, value in named:
            strings.setdefault(tag, []).append(self._string(start + value))
        return strings

    def _string(self, offset: int) -> bytes:
        text, end, _ = self._bytes(offset, _MAX_STRING).partition(b"\0")
        if not end:
            raise _MalformedError("a name in its dynamic table has no end")
        return text

    def _offset(self, address: int) -> int:
        for segment in self._of_type("PT_LOAD"):
            if segment.p_vaddr <= address < segment.p_vaddr + segment.p_filesz:
                return int(address - segment.p_vaddr + segment.p_offset)
        raise _MalformedError("its string table lies in no segment")

    def _dlopen(self) -> Iterator[tuple[bytes, ...]]:
        for segment in self._of_type("PT_NOTE"):
            # Only core dumps have longer ones.
            if segment.p_filesz <= _MAX_HEADERS:
                for text in _dlopen_texts(self._segment_bytes(segment), self.order):
                    yield from _required_sonames(text)


@functools.cache
def _structures(bits: int, order: str) -> Any:
    """Return pyelftools' structures for a class and byte order."""
    from elftools.elf.structs import ELFStructs

    made = ELFStructs(little_endian=order == "<", elfclass=bits)
    made.create_basic_structs()
    made.create_advanced_structs()
    return made


def _parse(structure: Any, table: BinaryIO, offset: int) -> Any:
    from elftools.common.utils import struct_parse

    return struct_parse(structure, table, offset)


def _last(strings: dict[str, list[bytes]], tag: str) -> bytes | None:
    """Return the last value of `tag`: the one that loaders take when there are several."""
    return strings[tag][-1] if tag in strings else None


def _dlopen_texts(data: bytes, order: str) -> Iterator[bytes]:
    """Yield the JSON text of each dlopen note in the note segment `data`."""
    here = 0
    while here + 12 <= len(data):
        name_size, size, kind = struct.unpack_from(f"{order}III", data, here)
        start = here + 12 + (name_size + 3 & ~3)
        if kind == _DLOPEN_TYPE and data[here + 12 : here + 12 + name_size] == _DLOPEN_OWNER:
            yield data[start : start + size].rstrip(b"\0")
        here = start + (size + 3 & ~3)


def _required_sonames(text: bytes) -> Iterator[tuple[bytes, ...]]:
    """Yield the alternatives of each required library in the dlopen note `text`."""
    try:
        for entry in json.loads(text):
            if not isinstance(entry["soname"], list):
                raise TypeError
            sonames = tuple(name.encode() for name in entry["soname"])
            if entry.get("priority") == "required":
                yield sonames
    except (AttributeError, KeyError, TypeError) as error:
        raise _MalformedError("its dlopen note is not as UAPI.12 describes") from error


_NO_NAMES = (b"", b".", b"..")
"""Last components that name no entry of the directory before them."""


@dataclass(frozen=True, slots=True)
class ElfFile:
    """An ELF file of a root."""

    real: bytes
    """Its link-free path."""
    inode: tuple[int, int]
    mode: int
    elf: Elf


class ElfFiles:
    """The ELF files of a root.

    Programs of one image search the same directories for the same libraries. So each look happens
    once in a step, and is on the root's record like any other: a later change is seen there.
    """

    def __init__(self, root: Root) -> None:
        self.root = root
        self._directories: dict[bytes, bytes | None] = {}
        self._files: dict[bytes, ElfFile | None] = {}

    def find(self, path: bytes) -> ElfFile | None:
        """Return the regular file that `path` leads to; None where there is none.

        ElfError when it is no ELF file.
        """
        if path not in self._files:
            self._files[path] = self._find(path)
        return self._files[path]

    def directory(self, path: bytes) -> bytes | None:
        """Return the link-free path of the directory `path`; None where there is none."""
        if path not in self._directories:
            self._directories[path] = self._directory(path)
        return self._directories[path]

    def _directory(self, path: bytes) -> bytes | None:
        """Look a directory up; the record needs no state of one that looks into it depend on."""
        found = self.root.files.walk(path)
        for passed in (*found.links, *found.left):
            self.root.look(passed, Aspect.STAT)
        if found.status is not None and found.status.kind is FileKind.DIR:
            return found.real
        self.root.look(found.barrier or found.real, Aspect.STAT)
        return None

    def _find(self, path: bytes) -> ElfFile | None:
        above, name = os.path.split(path)
        directory = self.directory(above)
        if directory is None:
            return None
        real = join(directory, name)
        status = self.root.files.status(real)
        if name in _NO_NAMES or (status is not None and status.kind is FileKind.LINK):
            found = self.root.walk(path, aspect=Aspect.CONTENT)
            real, status = found.real, found.status
        else:
            self.root.look(real, Aspect.CONTENT if status else Aspect.STAT)
        if status is None or status.kind is not FileKind.FILE:
            return None
        return ElfFile(real, status.inode, status.mode, _read(self.root, real))


_known: dict[bytes, tuple[Identity, Elf]] = {}
"""By host path: steps of many images need the same libraries."""


def _read(root: Root, real: bytes) -> Elf:
    host_path = root.files.host_path(real)
    with root.open(real) as stream:
        key = identity(stream)
        if host_path not in _known or _known[host_path][0] != key:
            _known[host_path] = key, read(stream, real)
    return _known[host_path][1]
