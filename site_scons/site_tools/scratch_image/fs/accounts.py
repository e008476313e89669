"""Account files: passwd(5) and group(5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

PASSWD, GROUP = ACCOUNTS = b"/etc/passwd", b"/etc/group"

NONROOT = ("nonroot", 65532)
"""A user who owns nothing: the image gets an account for this name; the number is customary."""

_LARGEST = 2**32 - 2
"""The largest number of a user or group: the one after it means "no change" to chown(2)."""


@dataclass(frozen=True, slots=True)
class Account:
    """A line of an account file."""

    name: bytes
    number: int
    group: int
    """The number of a user's group; of a group its own number."""
    members: tuple[bytes, ...] = ()
    """The names of a group's users."""


def parse(text: bytes) -> Iterator[Account]:
    """Yield the accounts in the text of a passwd or group file; other lines are left out."""
    for line in text.splitlines():
        name, *fields = line.split(b":")
        numbers = [_number(field) for field in fields[1:3]]
        if len(fields) == 3 and numbers[0] is not None:  # group(5): its last field has members
            yield Account(name, numbers[0], numbers[0], tuple(filter(None, fields[2].split(b","))))
        elif len(fields) > 3 and None not in numbers:
            yield Account(name, *numbers)  # type: ignore[arg-type]


def _number(digits: bytes) -> int | None:
    is_one = digits.isdigit() and len(digits) <= 10 and int(digits) <= _LARGEST
    return int(digits) if is_one else None
