"""Logs of strace that a user captured without this tool."""

from __future__ import annotations

from ..errors import InputError
from ..fs.root import Root
from ..sandbox.output import last_words
from .log import line_number, parse
from .process_lines import is_whole
from .record import Record
from .resolution import resolve


def read_captured(text: bytes, name: str, root: Root) -> Record:
    """Return the record of strace's output `text` (hostile), the file `name`, as by `resolve`.

    InputError names a line that is not understood, or a call that hides files.
    """
    log = parse(text)
    for line in log.unparsed:
        raise InputError(
            f"read {name}:{line_number(text, line)}",
            f"{last_words(line)!r} is no line of strace",
            "capture it again by strace -f -y -o FILE",
        )
    if not is_whole(text):
        raise InputError(
            f"use {name}:{len(text.splitlines())}",
            "the log ends before its processes do",
            "capture it again by strace -f -y -o FILE, without -qq",
        )
    for problem in log.problems:
        raise InputError(
            f"use {name}:{line_number(text, problem)}",
            f"{problem.call.decode()} {problem.cause}",
            "capture it again by strace -f -y -o FILE, run it without that call, or name its "
            "files in an extra list",
        )
    # The time of the run is unknown, so all files that were open for writing are outputs.
    return resolve(log, root, started_ns=0)
