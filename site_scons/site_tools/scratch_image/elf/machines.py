"""The machines that programs are built for: one row each, with its names in ELF and in tools."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine; a field is empty where there is no such thing."""

    number: int
    """``e_machine``: its EM_ number (elf(5))."""
    name: str
    """The usual name: EM_ in small letters."""
    bits: int = 0
    """ELF class: 32 or 64; 0 where it is not known."""
    architecture: str = ""
    """Docker's name, which is Go's (GOARCH), for the byte order that Docker supports."""
    qemu: str = ""
    """The word in ``qemu-WORD-static``."""
    variant: str = ""
    """The variant that containerd takes where a platform names none."""
    seccomp: str = ""
    """libseccomp's name."""
    loader: bytes = b""
    """Where the ABI puts glibc's loader: libraries name none."""
    cache_flags: tuple[int, ...] = ()
    """Which entries of ld.so.cache are for it (sysdeps/generic/ldconfig.h); empty: all."""
    runs: int = 0
    """Number of another machine whose programs its kernel also runs."""


I386, ARM, X86_64, AARCH64 = 3, 40, 62, 183

MACHINES = {
    row.number: row
    for row in (
        Machine(X86_64, "x86_64", 64, "amd64", "x86_64", "", "SCMP_ARCH_X86_64",
                b"/lib64/ld-linux-x86-64.so.2", (0x303,), runs=I386),
        Machine(I386, "i386", 32, "386", "i386", "", "SCMP_ARCH_X86",
                b"/lib/ld-linux.so.2", (3, 1)),
        Machine(AARCH64, "aarch64", 64, "arm64", "aarch64", "v8", "SCMP_ARCH_AARCH64",
                b"/lib/ld-linux-aarch64.so.1", (0xA03,), runs=ARM),
        Machine(ARM, "arm", 32, "arm", "arm", "v7", "SCMP_ARCH_ARM"),
        Machine(8, "mips", 64, "mips64le", "mips64el", "", "SCMP_ARCH_MIPSEL64"),
        Machine(21, "ppc64", 64, "ppc64le", "ppc64le", "", "SCMP_ARCH_PPC64LE"),
        Machine(22, "s390", 64, "s390x", "s390x", "", "SCMP_ARCH_S390X"),
        Machine(243, "riscv", 64, "riscv64", "riscv64", "", "SCMP_ARCH_RISCV64"),
        Machine(258, "loongarch", 64, "loong64", "loongarch64"),
    )
}  # fmt: skip
"""By number; the order is that in which messages name them."""


def machine(number: int) -> Machine:
    """Return the machine `number`; one without a row here has its name only."""
    if number in MACHINES:
        return MACHINES[number]
    from elftools.elf.enums import ENUM_E_MACHINE

    names = [name for name, each in ENUM_E_MACHINE.items() if each == number]
    name = names[0].removeprefix("EM_").lower() if names else f"machine {number}"
    return Machine(number, name, qemu=name)


def native_machine() -> int:
    """Return the number of the machine that this Python is built for."""
    with open("/proc/self/exe", "rb") as stream:
        return int.from_bytes(stream.read(20)[18:], sys.byteorder)


def runs_here(number: int) -> bool:
    """Tell whether this machine's kernel runs programs for machine `number` without an emulator."""
    native = native_machine()
    return number in (native, machine(native).runs)
