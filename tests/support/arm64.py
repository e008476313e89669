"""A base for another architecture: Debian's libc for it, and a program. Nothing of it runs here.

The program comes from assembler: Debian's cross compiler and gcc-multilib exclude each other.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

LIBRARIES = Path("/usr/aarch64-linux-gnu/lib")
LOADER = "/lib/ld-linux-aarch64.so.1"

HELLO = """
.globl _start
_start: adr x0, text
        bl puts
        mov w0, 0
        bl exit
text:   .asciz "hello"
"""

STARTER = """
.globl _start
_start: adr x0, name
        mov x1, 0
        mov x2, 0
        bl execve
        mov w0, 0
        bl exit
name:   .asciz "/usr/bin/hello"
"""


def make_base(base: Path) -> Path:
    """Fill the directory `base` with a program, its loader and library, and a data file."""
    for name in ("lib", "usr/bin", "etc"):
        (base / name).mkdir(parents=True)
    for name in ("ld-linux-aarch64.so.1", "libc.so.6"):
        shutil.copy(LIBRARIES / name, base / "lib" / name)
    (base / "etc/hello.conf").write_text("hello\n")
    make_hello(base / "usr/bin/hello")
    return base


def make_hello(made: Path) -> Path:
    """Make the program `made`, which says hello."""
    return _make(HELLO, made)


def make_starter(made: Path) -> Path:
    """Make the program `made`, which becomes /usr/bin/hello if it can."""
    return _make(STARTER, made)


def _make(source: str, made: Path) -> Path:
    assembled = made.with_suffix(".o")
    command = ["aarch64-linux-gnu-as", "-o", str(assembled), "-"]
    subprocess.run(command, input=source, text=True, check=True)
    inputs = (str(assembled), str(LIBRARIES / "libc.so.6"))
    command = ["aarch64-linux-gnu-ld", "-o", str(made), "-dynamic-linker", LOADER, *inputs]
    subprocess.run(command, check=True)
    assembled.unlink()
    return made
