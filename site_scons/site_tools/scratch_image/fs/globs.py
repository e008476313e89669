"""Globs: patterns of paths, in the words of an extra list.

Within a component ``*`` stands for any bytes, ``?`` for one, and ``[a-z]`` or ``[!a-z]`` for one of
a set; a component ``**`` stands for any directories, none included. A leading dot is a byte like
any other. An octal escape is never a wildcard.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .lookup import FileKind
from .paths import join, unescape

if TYPE_CHECKING:
    from .root import Root

_WILD = re.compile(rb"[*?]|\[[^/]+\]")
_TOKEN = re.compile(rb"\*|\?|\[(!?)([^/]+?)\]|\\[0-3][0-7]{2}|.", re.DOTALL)


def is_glob(word: bytes) -> bool:
    """Tell whether the escaped path `word` has a wildcard in it."""
    return _WILD.search(word) is not None


def matcher(word: bytes) -> re.Pattern[bytes]:
    """Return what fully matches the paths that the glob `word` means, and all below them.

    re.error when a set in it is none.
    """
    parts = [b"(?:/[^/]+)*" if part == b"**" else b"/" + _component(part) for part in _parts(word)]
    return re.compile(b"".join(parts) + b"(?:/.*)?", re.DOTALL)


def _component(part: bytes) -> bytes:
    return b"".join(_regex(token) for token in _TOKEN.finditer(part))


def _regex(token: re.Match[bytes]) -> bytes:
    if token[0] == b"*":
        return b"[^/]*"
    if token[0] == b"?":
        return b"[^/]"
    if token[2] is not None:
        ranges = re.sub(rb"([\\\[\]^&|~])", rb"\\\1", unescape(token[2]))
        return b"[%s%s]" % (b"^/" if token[1] else b"", ranges)
    return re.escape(unescape(token[0]))


def _parts(word: bytes) -> list[bytes]:
    """Return the components of `word`; ``**`` at its end means all that lies below."""
    parts = [part for part in word.split(b"/") if part]
    return [*parts, b"*"] if parts[-1:] == [b"**"] else parts


def expand(root: Root, word: bytes) -> list[bytes]:
    """Return the paths in `root` that the glob `word` means, sorted; directories are listed."""
    return sorted(set(_below(root, b"/", _parts(word))))


def _below(root: Root, directory: bytes, parts: list[bytes]) -> Iterator[bytes]:
    """Yield the paths that `parts` mean below `directory`, a path as it was named."""
    if not parts:
        yield directory
    elif parts[0] == b"**":
        yield from _below(root, directory, parts[1:])
        for below in _entries(root, directory):
            # Links to directories are not followed: they may lead in a circle.
            found = root.walk(below, follow=False).status
            if found is not None and found.kind is FileKind.DIR:
                yield from _below(root, below, parts)
    elif is_glob(parts[0]):
        wanted = re.compile(_component(parts[0]), re.DOTALL)
        for below in _entries(root, directory):
            if wanted.fullmatch(below.rpartition(b"/")[2]):
                yield from _below(root, below, parts[1:])
    else:
        below = join(directory, unescape(parts[0]))
        if root.walk(below, follow=False).status is not None:
            yield from _below(root, below, parts[1:])


def _entries(root: Root, directory: bytes) -> list[bytes]:
    found = root.walk(directory)
    if found.status is None or found.status.kind is not FileKind.DIR:
        return []
    return [join(directory, name) for name in root.listing(found.real)]
