"""File capabilities: what a program may do beyond its user, see capabilities(7).

The kernel keeps them in an extended attribute, ``struct vfs_cap_data`` of linux/capability.h. File
lists have them as libcap writes them: ``cap_net_raw=ep``.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

ATTRIBUTE = "security.capability"
"""Name of the extended attribute."""

_NAMES = (
    *("chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid"),
    *("setuid", "setpcap", "linux_immutable", "net_bind_service", "net_broadcast", "net_admin"),
    *("net_raw", "ipc_lock", "ipc_owner", "sys_module", "sys_rawio", "sys_chroot"),
    *("sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice", "sys_resource"),
    *("sys_time", "sys_tty_config", "mknod", "lease", "audit_write", "audit_control"),
    *("setfcap", "mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend"),
    *("audit_read", "perfmon", "bpf", "checkpoint_restore"),
)
"""Each at its number."""

_NUMBERS = {f"cap_{name}": number for number, name in enumerate(_NAMES)} | {
    str(number): number for number in range(len(_NAMES), 64)
}
_WORDS = {number: word for word, number in _NUMBERS.items()}

_EFFECTIVE = 1
_FORMS = {1 << 24: struct.Struct("<4xII"), 2 << 24: struct.Struct("<4xIIII"),
          3 << 24: struct.Struct("<4xIIIII")}  # fmt: skip
"""By revision: pairs of permitted and inheritable bits; revision 3 has the root of a namespace."""

_CLAUSE = re.compile(r"([a-z0-9_,]+)=(e?)(i?)(p?)")


def text(attribute: bytes) -> str:
    """Return what the `attribute` (hostile) says; ``=`` when it takes all capabilities away.

    ValueError, with the cause as its text, when no image can hold it.
    """
    [magic] = struct.unpack_from("<I", attribute.ljust(4, b"\0"))
    form = _FORMS.get(magic & ~_EFFECTIVE)
    if form is None or len(attribute) != form.size:
        raise ValueError(f"they are of no known form ({attribute.hex()})")
    numbers = form.unpack(attribute)
    if len(numbers) == 5 and numbers[4]:
        raise ValueError(f"they hold in the user namespace of user {numbers[4]} only")
    permitted, inheritable = _join_words(numbers[0:4:2]), _join_words(numbers[1:4:2])
    return _text(permitted, inheritable, "e" * (magic & _EFFECTIVE))


def _join_words(words: tuple[int, ...]) -> int:
    return sum(word << 32 * at for at, word in enumerate(words))


def _text(permitted: int, inheritable: int, effective: str) -> str:
    clauses: dict[str, list[str]] = {}
    for number, word in sorted(_WORDS.items()):
        flags = "i" * (inheritable >> number & 1) + "p" * (permitted >> number & 1)
        if flags:
            clauses.setdefault(effective + flags, []).append(word)
    return " ".join(f"{','.join(words)}={flags}" for flags, words in clauses.items()) or "="


def permitted_names(text: str) -> frozenset[str]:
    """Return the names of the capabilities that a program with the attribute `text` gets."""
    found = [_CLAUSE.fullmatch(clause) for clause in text.split(" ")]
    return frozenset(name for each in found if each and each[4] for name in each[1].split(","))


def attribute(text: str) -> bytes:
    """Return the attribute, in revision 2, that says `text`, as `text` wrote it; ValueError if not.

    Older revisions say less, and newer ones name a namespace.
    """
    clauses = [*_clauses(text)]
    permitted, inheritable = (
        sum(1 << number for numbers, flags in clauses for number in numbers if flag in flags)
        for flag in "pi"
    )
    effective = int(any("e" in flags for _, flags in clauses))
    words = (bits >> at & 0xFFFFFFFF for at in (0, 32) for bits in (permitted, inheritable))
    made = struct.pack("<IIIII", 2 << 24 | effective, *words)
    if _text(permitted, inheritable, "e" * effective) != text:
        raise ValueError(text)
    return made


def _clauses(text: str) -> Iterator[tuple[set[int], str]]:
    """Yield the numbers and the flags of each clause of `text`, as far as it is understood."""
    for clause in text.split(" "):
        if found := _CLAUSE.fullmatch(clause):
            numbers = {_NUMBERS[word] for word in found[1].split(",") if word in _NUMBERS}
            yield numbers, "".join(found.groups()[1:])
