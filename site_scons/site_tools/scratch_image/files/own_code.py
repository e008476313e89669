"""The image's own code: its programs and their modules, the functions and files that they name.

The libraries of the system are left out: nearly all of them can do what no program at hand
asks for. libstdc++ and glib always import ``iconv_open``, for one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from ..fs.overlay import OverlaidFiles, Overlay
from ..fs.paths import is_under, unescape
from .entry import Entry
from .finding import Examined

_LIBC = b"/libc.so.6"

_INTERPRETER = re.compile(rb"lib(python|perl|ruby|php|tcl|lua|node)[-\d.]*\w*\.so\b.*")
"""Libraries that are the program: its executable only starts them."""

_MOST = 1 << 25
"""Bytes of a file that are searched."""

_WORD = re.compile(rb"\0([A-Za-z][\w-]{3,20})(?=\0)")
"""A string of a program that may be the name of a function or of a character set."""

_PATH = re.compile(rb"/(?<=[\0:]/)[\w.+/-]{3,200}(?![^\0: ])")
"""A path at the start of a string of a program, or in its list.

The slash comes first in the pattern, because `re` finds a literal at memory speed.
"""

_PROGRAM = re.compile(rb"(?<![\w/.$}*~-])(/(?:[\w.+-]+/)*s?bin/[\w.+-]+)(?![\w/*])")
"""A program that a script names."""

_COMMENT = re.compile(rb"^[ \t]*#.*", re.MULTILINE)

_ICU_ZONES = re.compile(rb"icu_\d+8TimeZone")
"""A class of ICU, which has all time zones in its own data."""

_GO = b"crypto/x509.(*Certificate).Verify"
_GLIBC = re.compile(rb"GNU C Library [^\n]{,80}release version (\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class OwnFile:
    """An ELF file, or an executable script, of the image's own code."""

    path: bytes
    words: frozenset[bytes]
    """Those of the words in question that an ELF file holds, each as a whole string."""
    paths: tuple[bytes, ...]
    """The absolute paths that it names, sorted."""
    checks_certificates: bool
    """Whether it has Go's code for certificates, which needs no library."""
    has_zones: bool = False
    """Whether it has the time zones of ICU."""

    def calls(self, functions: Collection[bytes]) -> str:
        """Return the first of `functions` that it calls; nothing if it calls none."""
        return next((each.decode() for each in functions if each in self.words), "")


def own_code(image: Examined, words: Collection[bytes]) -> Iterator[OwnFile]:
    """Yield the files of the image's own code, with those of `words` that each holds.

    A script counts if a run started it, or if the project brings it.
    """
    needed, home = needed_files(image.entries), os.path.dirname(libc(image.entries))
    for entry in image.entries:
        magic = image.view.magic(entry.path) if entry.kind == "file" and not entry.text else ""
        if magic == "elf" and not _is_of_system(entry.path, needed, home):
            yield read_code(image, entry.path, words)
        elif magic == "script" and (entry.path in image.executed or _is_given(entry)):
            with image.view.open(entry.path) as stream:
                yield _read_script(entry.path, stream.read(_MOST))


def _is_given(entry: Entry) -> bool:
    is_program = bool(entry.mode & 0o111)
    return is_program and any(each.startswith(("staged", "extra:")) for each in entry.reasons)


def read_code(image: Examined, path: bytes, words: Collection[bytes]) -> OwnFile:
    """Return what the ELF file `path` of `image` names, and which of `words` it holds."""
    with image.view.open(path) as stream:
        content = stream.read(_MOST)
    held = frozenset(words).intersection(_WORD.findall(content))
    starts = ((each.start(), each[0]) for each in _PATH.finditer(content))
    named = {path for start, path in starts if _is_in_first_word(content, start)}
    has_zones = _ICU_ZONES.search(content) is not None
    return OwnFile(path, held, tuple(sorted(named)), _GO in content, has_zones)


def read_commands(image: Examined, path: bytes, names: Collection[bytes]) -> set[bytes]:
    """Return those of the `names` of programs that begin a command in the ELF file `path`.

    Such a name begins a line, a string or a part of one, and has an option or a value after it.
    """
    with image.view.open(path) as stream:
        content = stream.read(_MOST)
    held = [re.escape(each) for each in sorted(names, reverse=True) if each + b" " in content]
    command = rb"[\0\n:|;&(`][ \t]*(%b) [-%%$<\"']" % b"|".join(held)
    return {*re.findall(command, content)} if held else set()


def _is_in_first_word(content: bytes, at: int) -> bool:
    """Tell whether the string of `content` that has byte `at` has no space before it."""
    return content.find(b" ", content.rfind(b"\0", 0, at) + 1, at) < 0


def _read_script(path: bytes, content: bytes) -> OwnFile:
    _, _, lines = content.partition(b"\n")
    named = {*_PROGRAM.findall(_COMMENT.sub(b"", lines))}
    return OwnFile(path, frozenset(), tuple(sorted(named)), False)


def _is_of_system(path: bytes, needed: Collection[bytes], home: bytes) -> bool:
    """Tell whether `path` is a library of the system, whose libc lies in `home`, if it has one."""
    directory, name = os.path.split(path)
    if _INTERPRETER.fullmatch(name):
        return False
    return directory == home or (path in needed and is_under(path, home))


def is_elf_file(view: Overlay | OverlaidFiles, entry: Entry) -> bool:
    """Tell whether `entry` is an ELF file."""
    return entry.kind == "file" and not entry.text and view.magic(entry.path) == "elf"


def needed_files(entries: Iterable[Entry]) -> frozenset[bytes]:
    """Return the listed loaders, and the libraries that ELF files need by name."""
    needed: set[bytes] = set()
    every = list(entries)
    while True:
        found = {
            entry.path for entry in every if any(_is_need(each, needed) for each in entry.reasons)
        }
        if found <= needed:
            return frozenset(needed)
        needed |= found


def _is_need(reason: str, needed: Collection[bytes]) -> bool:
    word, _, name = reason.partition(":")
    is_target = word == "target-of" and unescape(name.encode()) in needed
    return word in ("needed-by", "loader-of") or is_target


def libc(entries: Iterable[Entry]) -> bytes:
    """Return the listed libc of GNU; nothing if there is none."""
    paths = (entry.path for entry in entries if entry.path.endswith(_LIBC))
    return next(paths, b"")


def glibc_version(view: Overlay | OverlaidFiles, path: bytes) -> tuple[int, int]:
    """Return the release that the libc `path` names; (0, 0) for an unknown one."""
    with view.open(view.walk(path).real) as stream:
        found = _GLIBC.search(stream.read(_MOST))
    return (int(found[1]), int(found[2])) if found else (0, 0)
