"""The processor: which variants of libraries glibc's loader takes for it (elf/dl-hwcaps*.c)."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .machines import I386, X86_64

if TYPE_CHECKING:
    from .reader import Elf

_V2 = frozenset(b"cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3".split())
_V3 = _V2 | frozenset(b"abm avx avx2 bmi1 bmi2 f16c fma movbe".split())
_V4 = _V3 | frozenset(b"avx512bw avx512cd avx512dq avx512f avx512vl".split())
_HASWELL = frozenset(b"abm avx2 bmi1 bmi2 fma movbe popcnt".split())

_FLAGS = {b"x86-64-v4": _V4, b"x86-64-v3": _V3, b"x86-64-v2": _V2}
"""Flags of /proc/cpuinfo that each level requires."""

LEVELS = tuple(_FLAGS)
"""Subdirectories of ``glibc-hwcaps`` on x86-64, the best first."""


@dataclass(frozen=True, slots=True)
class Processor:
    """The features of a processor that decide which libraries are loaded."""

    levels: tuple[bytes, ...]
    """Those of LEVELS that it can run, the best first."""
    platform: bytes
    """The value of ``$PLATFORM``."""

    @classmethod
    def of(cls, cpuinfo: bytes, elf: Elf) -> Processor:
        """Return what `cpuinfo`, the text of /proc/cpuinfo, means for programs like `elf`."""
        name = elf.machine_name.encode()
        if (elf.bits, elf.machine) != (64, X86_64):
            return cls((), b"i686" if elf.machine == I386 else name)
        haswell = _field(cpuinfo, b"vendor_id") == b"GenuineIntel" and _flags(cpuinfo) >= _HASWELL
        return cls(levels(cpuinfo), b"haswell" if haswell else name)


def levels(cpuinfo: bytes) -> tuple[bytes, ...]:
    """Return which of LEVELS the processor of `cpuinfo` can run, the best first."""
    flags = _flags(cpuinfo)
    return tuple(level for level, required in _FLAGS.items() if required <= flags)


@functools.cache
def _flags(cpuinfo: bytes) -> frozenset[bytes]:
    return frozenset(_field(cpuinfo, b"flags").split())


def _field(cpuinfo: bytes, name: bytes) -> bytes:
    found = re.search(rb"^%s[ \t]*:[ \t]*(.*)$" % name, cpuinfo, re.MULTILINE)
    return found[1] if found else b""


@functools.cache
def cpuinfo() -> bytes:
    """Return the part of /proc/cpuinfo about this machine's first processor.

    Off the record: it is part of each signature for which it matters. The kernel queries every
    processor for its frequency, so the others, which are alike, are not read.
    """
    with open("/proc/cpuinfo", "rb", buffering=0) as stream:
        text = b""
        while b"\n\n" not in text and (more := stream.read(4096)):
            text += more
        return text.partition(b"\n\n")[0]
