r"""Paths are absolute ``bytes``, as the kernel takes them; text only at the edges.

In text records a path is one word: white space, control bytes, the backslash and bytes that
are not UTF-8 stand as a backslash and three octal digits, as in mtree(5) and /proc/mounts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

_PLAIN = re.compile(rb"[!-\[\]-~]*")
_UTF8 = re.compile(
    rb"[!-\[\]-~]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}"
    rb"|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}"
    rb"|\xf4[\x80-\x8f][\x80-\xbf]{2}|(?P<odd>[\x00-\xff])",
    re.DOTALL,
)
_NO_NAMES = frozenset({b"", b".", b".."})
_OCTAL = re.compile(rb"\\([0-3][0-7]{2})")

PATH_MAX = 4096
"""Bytes of the longest name that the kernel looks up, with the zero at its end."""

SEARCH_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The PATH that engines give a container whose image sets none."""


def escape(name: bytes) -> bytes:
    """Return `name` as one word of a text record."""
    if _PLAIN.fullmatch(name):
        return name
    return _UTF8.sub(lambda m: b"\\%03o" % m["odd"][0] if m["odd"] else m[0], name)


def unescape(word: bytes) -> bytes:
    """Return the name that `word`, made by `escape`, stands for."""
    if b"\\" not in word:
        return word
    return _OCTAL.sub(lambda m: bytes([int(m[1], 8)]), word)


def show(path: bytes) -> str:
    """Return `path` as text for a message: one word, always printable."""
    return escape(path).decode("utf-8")


def show_some(paths: Sequence[bytes], most: int) -> str:
    """Return up to `most` of `paths` as text for a message, and how many more there are."""
    more = f" and {len(paths) - most} more" if len(paths) > most else ""
    return ", ".join(map(show, paths[:most])) + more


def parents(path: bytes) -> list[bytes]:
    """Return the directories above the absolute `path`, ``/`` first, without `path` itself."""
    found = []
    while path != b"/":
        path = os.path.dirname(path)
        found.append(path)
    return found[::-1]


def join(directory: bytes, name: bytes) -> bytes:
    """Return `name` seen from `directory`, without resolving ``..`` (a link may precede it)."""
    return name if name[:1] == b"/" else directory.rstrip(b"/") + b"/" + name


def is_under(path: bytes, *directories: bytes) -> bool:
    """Tell whether `path` is one of `directories` or lies below it."""
    return any(path == each or path.startswith(each.rstrip(b"/") + b"/") for each in directories)


def is_plain(path: bytes) -> bool:
    """Tell whether `path` is absolute and written in the one way without ``.``, ``..``, ``//``."""
    if path == b"/":
        return True
    return path[:1] == b"/" and b"\0" not in path and _NO_NAMES.isdisjoint(path[1:].split(b"/"))


KERNEL_TREES = {b"/dev": 0o755, b"/dev/shm": 0o1777, b"/proc": 0o555, b"/sys": 0o555}
"""The directories where they are mounted, with the modes of these."""


def is_in_kernel_tree(path: bytes) -> bool:
    """Tell whether `path` is a kernel tree, or lies in one."""
    return is_under(path, *KERNEL_TREES)
