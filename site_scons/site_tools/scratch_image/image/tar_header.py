"""The header of a tar member: written as bytes, and read back.

Headers are ustar, written here: that is several times faster than `tarfile`, and no Python
version can change a byte. A PAX record stands only where ustar cannot hold a value
(https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html).
"""

from __future__ import annotations

import functools
import re
import struct
from collections.abc import Mapping
from typing import NamedTuple

from ..fs import capabilities as attributes
from ..fs.lookup import FileKind, Status

BLOCK = 512
"""Bytes of a header; contents are padded to a multiple."""

END = bytes(2 * BLOCK)
"""The end of a tar. Filling up to 10240 bytes is for tapes; Docker does not do it either."""

FILE, HARD, LINK, DIR, SPARSE, _PAX = b"0", b"1", b"2", b"5", b"S", b"x"
"""Type flags of tar members."""

KINDS = {FILE: FileKind.FILE, HARD: FileKind.FILE, LINK: FileKind.LINK, DIR: FileKind.DIR}
"""The kind of file that a member is, by its type flag."""

CAPABILITIES = f"SCHILY.xattr.{attributes.ATTRIBUTE}"
"""The PAX record that engines take file capabilities from."""

_DIGITS = re.compile(rb"(?:[0-7]{7}\0){3}(?:[0-7]{11}\0){2}")

_USTAR = struct.Struct("100s48s8sc100s88s155s12s")
"""Name, numbers, checksum, type flag, link, the constant part, prefix and zeros."""

_CONSTANT = b"ustar\x0000".ljust(72, b"\0") + b"0000000\x000000000\0"
"""Magic, version, no names of user and group, and zeros as device numbers."""

_CONSTANT_SUM = sum(b" " * 8 + _CONSTANT)
"""The part of a checksum that all headers share; the checksum itself counts as spaces."""

_SHORT, _LONG = 1 << 21, 1 << 33
"""The first numbers that the seven and the eleven octal digits of ustar fields cannot hold."""

_LIMITS = {"uid": _SHORT, "gid": _SHORT, "size": _LONG, "mtime": _LONG}

_NAME = 100
"""Bytes of a name or a link's text that a ustar field holds."""


class Header(NamedTuple):
    """The header of a member, as it was read. A named tuple: images have a million of them."""

    name: bytes
    flag: bytes
    """`FILE`, `HARD`, `LINK`, `DIR`, `SPARSE`, or the flag of another kind."""
    status: Status
    """Without size and time; its target is a link's text, or the first name of a hard link."""
    size: int
    """Bytes of the content that follows."""
    mtime: float
    """Seconds since 1970."""
    capabilities: bytes = b""
    """The extended attribute that holds the file's capabilities."""


def format_header(
    name: bytes,
    flag: bytes = FILE,
    *,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime: int = 0,
    link: bytes = b"",
    capabilities: bytes = b"",
) -> bytes:
    """Return the header of a tar member `name`, with a PAX header before it where one is needed.

    `size` is in bytes, `mtime` in seconds since 1970; `link` is a link's text, or the first name
    of a hard link. Content must follow, padded by `padding`.
    """
    prefix, base = _split(name)
    is_short = len(base) <= _NAME and len(link) <= _NAME and not capabilities
    if is_short and uid < _SHORT and gid < _SHORT and size < _LONG and mtime < _LONG:
        return _ustar(prefix, base, flag, mode, link, uid, gid, size, mtime)
    numbers = {"uid": uid, "gid": gid, "size": size, "mtime": mtime}
    records = {key: b"%d" % number for key, number in numbers.items() if number >= _LIMITS[key]}
    if len(base) > _NAME:
        records["path"] = name
    if len(link) > _NAME:
        records["linkpath"] = link
    if capabilities:
        records[CAPABILITIES] = capabilities
    numbers.update((key, 0) for key in records if key in numbers)
    return _pax(records) + _ustar(prefix, base, flag, mode, link, **numbers)


def padding(size: int) -> bytes:
    """Return the zeros that follow a content of `size` bytes."""
    return bytes(-size % BLOCK)


def _split(name: bytes) -> tuple[bytes, bytes]:
    """Return ustar's prefix (up to 155 bytes) and name of `name`, cut at a slash.

    Without a fitting slash the prefix is empty, and the name longer than its 100 bytes.
    """
    if len(name) <= _NAME:
        return b"", name
    cut = name.find(b"/", len(name) - _NAME - 1)
    if 0 < cut <= 155 and cut + 1 < len(name):
        return name[:cut], name[cut + 1 :]
    return b"", name


def _pax(records: Mapping[str, bytes]) -> bytes:
    # Names that are not UTF-8 stand as they are, as GNU tar writes them: it warns of hdrcharset.
    data = b"".join(_record(key.encode(), value) for key, value in records.items())
    return (
        _ustar(b"", b"././@PaxHeader", _PAX, 0o644, b"", size=len(data)) + data + padding(len(data))
    )


def _record(key: bytes, value: bytes) -> bytes:
    """Return one PAX record: its own length in digits, and ``key=value``."""
    body = b" %s=%s\n" % (key, value)
    length = len(body)
    while length != len(body) + len(b"%d" % length):
        length = len(body) + len(b"%d" % length)
    return b"%d%s" % (length, body)


def _ustar(
    prefix: bytes,
    name: bytes,
    flag: bytes,
    mode: int,
    link: bytes,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime: int = 0,
) -> bytes:
    """Return one ustar header block; texts that are too long are cut, numbers must fit."""
    name, link = name[:_NAME], link[:_NAME]
    numbers = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, uid, gid, size, mtime)
    checksum = _checksum(name, numbers, flag, link, prefix)
    return _USTAR.pack(name, numbers, checksum, flag, link, _CONSTANT, prefix, b"")


def _checksum(*fields: bytes) -> bytes:
    """Return the checksum of a header with these fields, besides the constant part."""
    # Zeros count for nothing: most of a header need not be added up.
    return b"%06o\0 " % (_CONSTANT_SUM + sum(b"".join(fields)))


def parse_header(block: bytes) -> Header | None:
    """Return the content of the header `block` (hostile).

    None unless it is a header block as `format_header` writes them, with its checksum: `tarfile`
    reads all other headers that tars may have, PAX headers included.
    """
    if len(block) != BLOCK:
        return None
    base, digits, checksum, flag, link, constant, prefix, zeros = _USTAR.unpack(block)
    base, link, prefix = base.rstrip(b"\0"), link.rstrip(b"\0"), prefix.rstrip(b"\0")
    if checksum != _checksum(base, digits, flag, link, prefix) or not _DIGITS.fullmatch(digits):
        return None
    name, size = prefix + b"/" + base if prefix else base, int(digits[24:35], 8)
    if constant != _CONSTANT or b"\0" in name or b"\0" in link or zeros.strip(b"\0"):
        return None
    if flag not in KINDS or (size and flag != FILE):
        return None
    return Header(name, flag, _status(flag, digits[:24], link), size, int(digits[36:47], 8))


@functools.lru_cache
def _status(flag: bytes, digits: bytes, target: bytes) -> Status:
    """Return the status that most members share with others, made once."""
    mode, uid, gid = [int(number, 8) for number in digits.split(b"\0")[:3]]
    return Status(KINDS[flag], mode & 0o7777, uid, gid, target=target)
