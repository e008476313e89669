"""A small repository of Debian packages: what packages come in, without a network and in no time.

Its one essential package has this machine's dpkg, and what that needs to install another one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from scratch_image.elf.closure import Closures
from scratch_image.fs.root import Root

SUITE = "small"

PROGRAMS = (
    *("/usr/bin/dpkg", "/usr/bin/dpkg-deb", "/usr/bin/dpkg-split", "/usr/bin/tar", "/usr/bin/sh"),
    *("/usr/bin/rm", "/usr/bin/diff", "/sbin/ldconfig", "/sbin/start-stop-daemon"),
)
_CONTROL = "Package: {}\nVersion: {}\nArchitecture: amd64\nMaintainer: me <me@example.com>\n"
_UNSIGNED = """\
#!/bin/sh
exec /usr/bin/mmdebstrap --aptopt='Acquire::AllowInsecureRepositories "true"' \\
    --aptopt='APT::Get::AllowUnauthenticated "true"' "$@"
"""


class Repository:
    """A directory that is a mirror, and beside it the directory of an mmdebstrap that trusts it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "mirror"
        self.mirror = f"copy://{self.directory}"
        self.tools = directory / "tools"
        self.tools.mkdir(parents=True)
        (self.tools / "mmdebstrap").write_text(_UNSIGNED)
        (self.tools / "mmdebstrap").chmod(0o755)
        self.directory.mkdir()
        # Ordinary users' mmdebstrap is somebody else in its namespace.
        for place in (directory, directory.parent):
            place.chmod(0o755)
        tree = directory / "system"
        copy_programs(tree, PROGRAMS)
        self._pack(tree, "system", "1", "Essential: yes\n")
        self.publish("hello", "1.0", {"usr/share/hello": "hello\n"})

    def publish(self, name: str, version: str, files: dict[str, str]) -> None:
        """Offer a package of text `files`, beside what there is."""
        tree = self.directory.parent / f"{name}-{version}"
        for path, text in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text)
        self._pack(tree, name, version)

    def withdraw(self, name: str, version: str) -> None:
        """Offer a package no more."""
        (self.directory / f"{name}_{version}.deb").unlink()
        self._index()

    def _pack(self, tree: Path, name: str, version: str, more: str = "") -> None:
        (tree / "DEBIAN").mkdir()
        text = _CONTROL.format(name, version) + f"{more}Description: {name}\n"
        (tree / "DEBIAN/control").write_text(text)
        made = self.directory / f"{name}_{version}.deb"
        _quietly("dpkg-deb", "-Znone", "--root-owner-group", "-b", tree, made)
        self._index()

    def _index(self) -> None:
        stanzas = []
        for deb in sorted(self.directory.glob("*.deb")):
            control = _quietly("dpkg-deb", "-f", deb)
            data = deb.read_bytes()
            digest = sha256(data).hexdigest()
            stanzas.append(f"{control}Filename: {deb.name}\nSize: {len(data)}\nSHA256: {digest}\n")
        index = "\n".join(stanzas).encode()
        dist = self.directory / "dists" / SUITE
        (dist / "main/binary-amd64").mkdir(parents=True, exist_ok=True)
        (dist / "main/binary-amd64/Packages").write_bytes(index)
        (dist / "Release").write_text(
            f"Suite: {SUITE}\nCodename: {SUITE}\nArchitectures: amd64\nComponents: main\n"
            "Date: Sun, 01 Nov 2026 00:00:00 UTC\nSHA256:\n"
            f" {sha256(index).hexdigest()} {len(index)} main/binary-amd64/Packages\n"
        )


def copy_programs(tree: Path, programs: Iterable[str]) -> None:
    """Copy `programs` of this machine, with all that they need, into the root file system `tree`."""
    root = Root()
    for name in ("proc", "sys"):
        (tree / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (tree / "usr" / name).mkdir(parents=True)
        (tree / name).symlink_to(f"usr/{name}")
    for program in map(os.fsencode, programs):
        (found,) = Closures(root).find(program)
        for path in (program, found.loader, *(each.path for each in found.libraries)):
            if path is not None:
                _copy(os.fsdecode(path), tree)


def _copy(path: str, tree: Path) -> None:
    """Copy the file `path`, and the link that it may be."""
    real = os.path.realpath(path)
    for name in (real, path):
        (tree / name[1:]).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(real, tree / real[1:])
    if not (tree / path[1:]).exists():
        (tree / path[1:]).symlink_to(real)


def _quietly(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
