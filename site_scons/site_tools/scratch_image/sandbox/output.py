"""The output of programs: how much of it is kept, and how messages quote it."""

from __future__ import annotations

KEPT = 1 << 19
"""Bytes kept of the beginning of each output, and as many of its end."""

_QUOTED = 300
"""Characters of an output that a message quotes."""


class Ends:
    """The beginning and the end of an output."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._size = 0

    def add(self, data: bytes) -> None:
        """Take `data`, which comes next."""
        self._size += len(data)
        room = KEPT - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > 2 * KEPT:
            del self._tail[:-KEPT]

    def text(self) -> bytes:
        """Return the output so far; of more than 2 * `KEPT` bytes without the middle."""
        left_out = self._size - 2 * KEPT
        if left_out <= 0:
            return bytes(self._head + self._tail)
        mark = b"\n[%d bytes left out]\n" % left_out
        return bytes(self._head) + mark + bytes(self._tail[-KEPT:])


def last_words(output: bytes) -> str:
    """Return the end of `output` in one line."""
    text = " | ".join(output.decode("utf-8", "backslashreplace").split("\n")).strip(" |")
    return text if len(text) <= _QUOTED else "..." + text[-_QUOTED:]


def quote_output(stdout: bytes, stderr: bytes) -> str:
    """Return a clause with the last words of both outputs: many programs complain on the first."""
    said = f"said {last_words(stderr)!r}"
    return f"{said} after it printed {last_words(stdout)!r}" if stdout.strip() else said
