r"""One line of strace(1), split into words. Pure: bytes in, values out.

A line is split into strings ("..."), descriptor paths (<...>) and the text between, the *skeleton*,
which repeats from line to line. strace prints names by ``print_quoted_string_ex`` of its
``util.c``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice

# An escaped quote or bracket starts nothing: to try it would take hours in a hostile line.
_TOKEN = re.compile(
    rb'("(?<!\\")[^"\\]*(?:\\.[^"\\]*)*"(?:\.\.\.)?|<(?<!\\<)[^<>\\]*(?:\\.[^<>\\]*)*>)', re.DOTALL
)
_CALL = re.compile(rb"(\w+)\((.*?)\) += (-?\w+|\?)(.*)", re.DOTALL)
_ADDRESS = re.compile(rb" 0x[0-9a-f]+")
REMARK = re.compile(
    rb"--- .* ---$|\[ Process PID=\d+ runs in .* mode\. \]$|\?+\(|strace: Process \d+ detached$"
)
"""Lines without a meaning for files: signals, ABI changes, calls that strace could not fetch."""
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|([0-7]{1,3})|(.))", re.DOTALL)
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"f": b"\f", b"v": b"\v"}

split_line = _TOKEN.split
"""Returns the parts of a line: strings and descriptor paths at odd places, text between."""


def skeleton(parts: list[bytes]) -> tuple[bytes, ...]:
    """Return the text between the strings of `parts`, without addresses in memory at the end."""
    tail = parts[-1]
    return (*parts[:-1:2], _ADDRESS.sub(b" 0x", tail) if b" 0x" in tail else tail)


def without_address(line: bytes) -> bytes:
    """Return `line` without the address in memory that may follow its first string.

    ``readlink("/a", 0x7ffc12, 9)`` is the same call wherever the buffer was. Where there is doubt
    that the string ends there, the line stays as it is.
    """
    head, address, tail = line.partition(b'", 0x')
    if not address or b"\\" in head or head.count(b"<") != head.count(b">"):
        return line
    return head + address + tail.lstrip(b"0123456789abcdef")


class Call:
    """A skeleton in words: the call's name, its arguments and its result."""

    def __init__(self, parts: list[bytes]) -> None:
        """Take the parts of a line, as `split_line` returns them."""
        words = list(parts)
        words[1::2] = [b'"' if part[:1] == b'"' else b"<>" for part in parts[1::2]]
        found = _CALL.match(b"".join(words))
        fields: Sequence[bytes] = found.groups() if found else (b"", b"", b"", b"")
        self.name, self.flags, self.value, self._after = fields
        self.arguments = self.flags.split(b", ")
        tokens = iter(range(1, len(parts), 2))
        self._tokens = [list(islice(tokens, _count_tokens(word))) for word in self.arguments]
        self._rest = list(tokens)

    @property
    def error(self) -> bytes:
        """The errno's name, or nothing."""
        return (self._after.split() or [b"?"])[0] if self.value == b"-1" else b""

    @property
    def has_succeeded(self) -> bool:
        """Whether the call is known to have succeeded."""
        return self.value not in (b"-1", b"?")

    def argument(self, index: int) -> bytes:
        """Return argument `index`, or nothing."""
        return self.arguments[index] if 0 <= index < len(self.arguments) else b""

    def token(self, index: int, mark: bytes) -> int | None:
        """Return which part is the first token of argument `index`; None if it has no `mark`."""
        return self._tokens[index][0] if mark in self.argument(index) else None

    def new_descriptor(self) -> int | None:
        """Return which part is the path of the descriptor that the call returned."""
        has_path = self._after[:2] == b"<>" and self._after[2:11] != b"(deleted)"
        return self._rest[0] if self.has_succeeded and has_path else None

    def sockets(self) -> list[int]:
        """Return which parts are paths of UNIX sockets; names without a file start with @."""
        words = zip(self.arguments, self._tokens, strict=True)
        return [tokens[0] for word, tokens in words if b'sun_path="' in word]

    def passed_descriptors(self) -> list[int]:
        """Return which parts are paths of descriptors that a message brought (SCM_RIGHTS)."""
        numbers = re.compile(rb"(?:cmsg_data=\[)?\d+<>")
        words = zip(self.arguments[1:], self._tokens[1:], strict=True)
        return [token for word, tokens in words if numbers.match(word) for token in tokens]


def parse_call(parts: list[bytes]) -> Call | None:
    """Return the call of a line; None when it is none."""
    if any(b'"' in gap or b"<>" in gap for gap in parts[::2]):
        return None
    call = Call(parts)
    return call if call.name else None


def _count_tokens(word: bytes) -> int:
    return word.count(b'"') + word.count(b"<>")


@lru_cache(maxsize=256)
def decode(token: bytes) -> bytes:
    """Return the name in a string or descriptor path."""
    name = token[1:-1]
    return _ESCAPE.sub(_unescape, name) if b"\\" in name else name


def _unescape(found: re.Match[bytes]) -> bytes:
    if found[1]:
        return bytes([int(found[1], 16)])
    if found[2]:
        return bytes([int(found[2], 8) & 0xFF])
    return _LETTERS.get(found[3], found[3])


@lru_cache(maxsize=256)
def decode_file(token: bytes) -> bytes | None:
    """Return the path of the file in a descriptor path; None for a pipe and the like."""
    path = decode(token)
    # Before 5.19 strace wrote this mark into the brackets.
    if path[:1] != b"/" or path[:7] == b"/memfd:" or path.endswith(b" (deleted)"):
        return None
    return path
