"""A run: one command under which a program is traced."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import InputError


@dataclass(frozen=True, slots=True)
class Run:
    """One command under which a program is traced."""

    name: str
    """Tells the runs of one image apart, in file names and messages."""
    argv: tuple[bytes, ...]
    """Program (image path, or base name) and its arguments."""
    environment: Mapping[bytes, bytes] = field(default_factory=dict)
    """Variables besides PATH and HOME, or instead of them."""
    stdin: bytes | None = None
    """File on the machine that standard input is read from; None for /dev/null."""
    cwd: bytes = b"/"
    """Directory on the machine where the run starts."""
    status: int = 0
    """Exit status that is expected."""
    timeout: float = 60.0
    """Seconds after which the run is ended and has failed."""

    @classmethod
    def parse(cls, name: str, command: str) -> Run:
        """Return the run that the command line `command` asks for.

        Words are split and quoted as in sh(1), and one ``< file`` gives the standard input.
        InputError for all else that only a shell can do.
        """
        if odd := _SHELL_ONLY.search(_unquoted(command)):
            raise _bad_command(name, command, f"{odd[0].strip() or 'a second line'} is for a shell")
        start, redirected, stdin = _split_at(command, "<")
        words, source = _words(name, command, start), _words(name, command, stdin)
        if redirected and len(source) != 1:
            raise _bad_command(name, command, "one file name has to follow <, and nothing else")
        if not words or _ASSIGNMENT.match(words[0]):
            raise _bad_command(name, command, "it does not start with a program")
        argv = tuple(os.fsencode(word) for word in words)
        return cls(name, argv, stdin=os.fsencode(source[0]) if source else None)


_SHELL_ONLY = re.compile(r"[|&;()>$`*?\[\n]|(?:^|\s)[~#]\S*|<\s*<")
_ASSIGNMENT = re.compile(r"\w+=")
_QUOTED = re.compile(r"""'[^']*'|"((?:[^"\\]|\\.)*)"|\\.""", re.DOTALL)
_EXPANDED = re.compile(r"[$`]")


def _unquoted(command: str) -> str:
    """Return `command` with each quoted character as a letter: what is left may be syntax."""

    def mask(found: re.Match[str]) -> str:
        expanded = _EXPANDED.search(found[1] or "")
        return ("$" if expanded else "q") * len(found[0])

    return _QUOTED.sub(mask, command)


def _split_at(command: str, sign: str) -> tuple[str, bool, str]:
    before, found, _ = _unquoted(command).partition(sign)
    return command[: len(before)], bool(found), command[len(before) + 1 :]


def _words(name: str, command: str, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise _bad_command(name, command, str(error).lower()) from error


def _bad_command(name: str, command: str, cause: str) -> InputError:
    return InputError(
        f"cannot read the command {command!r} of run {name}: {cause}; "
        'use Run(...) with argv ["sh", "-c", ...] for what a shell has to do'
    )
