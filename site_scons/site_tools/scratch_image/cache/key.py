"""Keys of entries: the weak one finds path sets, and a strong one the result.

The weak key has all that is known before a step runs: code, step, sources, what is staged where.
It names path sets of earlier results. The strong key has the states that the paths of one of them
have here, and so names the one result that the step would have.
https://github.com/microsoft/BuildXL/blob/main/Documentation/Wiki/Advanced-Features/Two-Phase-Cache-Lookup.md
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence

from ..fs.private_file import to_text
from .entry import Key
from .path_set import Checkout, PathSet, States, portable_states

_NAME = "scratch_image/1"
"""First word of each key: another version of the texts in entries has another one."""


def weak_key(words: Sequence[object]) -> str:
    """Return the weak key of what `words` (texts, numbers, and lists of such) describe."""
    return hashlib.sha256(json.dumps([_NAME, *words]).encode()).hexdigest()


def strong_key(weak: str, path_set: PathSet, checkout: Checkout, lines: Sequence[str]) -> str:
    """Return the strong key of the states `lines` of `path_set`."""
    place = [to_text(each) for each in checkout.directories] if path_set.is_bound else []
    found = hashlib.sha256(
        json.dumps([weak, place, _user() if path_set.is_personal else []]).encode()
    )
    for line in lines:
        found.update(b"%s\n" % line.encode("utf-8", "surrogateescape"))
    return found.hexdigest()


def state_lines(states: Sequence[States], checkout: Checkout, *, is_bound: bool) -> list[str]:
    """Return the states of the steps of a unit as lines; UnsharedError where one has no meaning."""
    return [
        f"{number} {line}"
        for number, each in enumerate(states)
        for line in portable_states(each, checkout, is_bound=is_bound)
    ]


def _user() -> list[int]:
    return [os.geteuid(), os.getegid(), *sorted(os.getgroups())]


def sets_entry(weak: str) -> Key:
    """Return the key of the entry that has the path sets of a weak key."""
    return Key.of(_NAME, "paths", weak)


def result_entry(strong: str) -> Key:
    """Return the key of the entry that has the result of a strong key."""
    return Key.of(_NAME, "result", strong)
