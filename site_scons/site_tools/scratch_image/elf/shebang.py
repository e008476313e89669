r"""Scripts: the interpreters that their ``#!`` lines name, and the program that ``env`` starts.

The kernel gives the words after the interpreter of a ``#!`` line to it as one argument
(fs/binfmt_script.c); env(1) splits that by its option ``-S``.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..fs.lookup import FileKind
from ..fs.paths import join
from ..fs.root import Aspect, Root
from .reader import SCRIPT_HEAD, interpreter_of_script

_LINE = re.compile(rb"#![ \t]*[^ \t\n\0]*/env[ \t]+([^\n\0]*?)[ \t]*(?:\n|\0|\Z)")
_SPLIT = re.compile(r"(?:-[iv]*S|--split-string(?:=|(?=\s)))\s*(.*)", re.DOTALL)
_ASSIGNMENT = re.compile(r"[^=]+=.*", re.DOTALL)
_ALONE = frozenset({"-v", "--debug", "--"})
_CLEARS = frozenset({"-", "-i", "--ignore-environment"})
_WITH_WORD = frozenset({"-u", "--unset", "-C", "--chdir"})
_DEFAULT_PATH = b"/bin:/usr/bin"
"""Where execvp(3) looks without PATH."""


@dataclass(frozen=True, slots=True)
class EnvCommand:
    """The program that ``env`` starts for a script."""

    name: bytes
    environment: Mapping[bytes, bytes]
    """The variables that it gets."""

    def find(self, root: Root) -> bytes | None:
        """Return the path of the program in `root`, as execvp(3) finds it; None for none."""
        places = self.environment.get(b"PATH", _DEFAULT_PATH).split(b":")
        if b"/" in self.name:
            places = [b"/"]
        for place in places:
            path = join(join(b"/", place), self.name)
            status = root.walk(path, aspect=Aspect.STAT).status
            if status is not None and status.kind is FileKind.FILE and status.mode & 0o111:
                return path
        return None


def interpreter_chain(root: Root, path: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield `path` and the interpreters that its ``#!`` line and theirs name, in order.

    Each comes with its first bytes: None where it does not exist, empty where it is no regular
    file. Scripts that name each other have no end.
    """
    while True:
        found = root.walk(path, aspect=Aspect.CONTENT)
        head = None if found.status is None else b""
        if found.status is not None and found.status.kind is FileKind.FILE:
            with root.open(found.real) as stream:
                head = stream.read(SCRIPT_HEAD)
        yield path, head
        interpreter = interpreter_of_script(head or b"")
        if interpreter is None:
            return
        path = join(b"/", interpreter)


def command_of_env(head: bytes, environment: Mapping[bytes, bytes]) -> EnvCommand | None:
    """Return the program that ``env`` starts for the script that begins with `head` (hostile).

    `environment` is that of the script. None where the line has no ``env``, or has options whose
    effect only a run of ``env`` would show.
    """
    line = _LINE.match(head)
    if not line:
        return None
    given = os.fsdecode(line[1])
    split = _SPLIT.fullmatch(given)
    try:
        words = shlex.split(split[1]) if split else [given] * bool(given)
    except ValueError:
        return None
    variables = {} if split and given[:3].startswith("-i") else dict(environment)
    while words:
        word = words.pop(0)
        if word in _CLEARS:
            variables = {}
        elif word in _WITH_WORD:
            variables.pop(os.fsencode(words.pop(0)) if words else b"", None)
        elif word.startswith("-") and word not in _ALONE:
            return None
        elif _ASSIGNMENT.fullmatch(word):
            name, _, value = os.fsencode(word).partition(b"=")
            variables[name] = value
        elif word not in _ALONE:
            return EnvCommand(os.fsencode(word), variables)
    return None
