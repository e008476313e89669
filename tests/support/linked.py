"""Programs and libraries made with gcc, and what their loader really opens."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scratch_image.elf import reader


@dataclass
class Build:
    """Programs and libraries made with gcc, below one directory."""

    top: Path

    def compile(self, out: str, source: str, *options: str, compiler: str = "gcc") -> bytes:
        path = self.top / out
        path.parent.mkdir(parents=True, exist_ok=True)
        code = self.top / "source.c"
        code.write_text(source)
        subprocess.run(
            [compiler, "-o", path, code, *options], check=True, cwd=self.top, capture_output=True
        )
        return os.fsencode(path)

    def library(
        self, out: str, code: str, *options: str, soname: str | None = None, compiler: str = "gcc"
    ) -> bytes:
        name = f"-Wl,-soname,{soname or Path(out).name}"
        return self.compile(out, code, "-shared", "-fPIC", name, *options, compiler=compiler)

    def program(self, out: str, uses: str, *options: str, compiler: str = "gcc") -> bytes:
        calls = "".join(f"int {use}(void);" for use in uses.split())
        value = " + ".join(f"{use}()" for use in uses.split()) or "0"
        source = f"{calls} int main(void) {{ return ({value}) < 0; }}"
        return self.compile(out, source, *options, compiler=compiler)

    def path(self, name: str) -> bytes:
        return os.fsencode(self.top / name)


def search(*directories: str) -> str:
    return f"-Wl,-rpath,{':'.join(directories)}"


def opened(
    program: bytes, environment: Mapping[bytes, bytes], *arguments: bytes
) -> tuple[list[bytes], list[bytes]]:
    """Return the libraries that the loader really opened, in order, and what it did not find."""
    log = program + b".strace"
    subprocess.run(
        [
            "strace",
            "-f",
            "-qq",
            "-e",
            "signal=none",
            "-e",
            "trace=open,openat",
            "-o",
            log,
            program,
            *arguments,
        ],
        env={b"PATH": b"/usr/bin", **environment},
        cwd="/",
        capture_output=True,
    )
    with open(log, "rb") as stream:
        lines = re.findall(rb'open(?:at)?\((?:AT_FDCWD, )?"([^"]*)".* = (-?\d+)', stream.read())
    want = _read(program).abi
    found, absent = [], []
    for path, result in lines:
        if int(result) < 0:
            absent.append(path)
        elif reader.is_elf(_head(path)) and _read(path).abi == want:
            found.append(path)
    return list(dict.fromkeys(found)), absent


def _head(path: bytes) -> bytes:
    with open(path, "rb") as stream:
        return stream.read(4)


def _read(path: bytes) -> reader.Elf:
    with open(path, "rb") as stream:
        return reader.read(stream, path)
