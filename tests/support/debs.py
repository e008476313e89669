"""Databases of dpkg, as tests make them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

INSTALLED = "install ok installed"


def install(
    base: Path,
    key: str,
    files: Mapping[str, str],
    version: str = "1-1",
    state: str = INSTALLED,
    more: str = "",
) -> None:
    """Put `files`, text by the path that the package `key` lists, and the package into `base`."""
    name, _, architecture = key.partition(":")
    home = base / "var/lib/dpkg"
    (home / "info").mkdir(parents=True, exist_ok=True)
    sums = []
    for path, text in files.items():
        file = base / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        sums.append(f"{hashlib.md5(text.encode()).hexdigest()}  {path.lstrip('/')}\n")
    _replace(home / "info" / f"{key}.list", "".join(f"{path}\n" for path in ("/.", *files)))
    _replace(home / "info" / f"{key}.md5sums", "".join(sums))
    status = home / "status"
    others = status.read_text() if status.exists() else ""
    kept = [each for each in others.split("\n\n") if each and f"key {key}\n" not in f"{each}\n"]
    paragraph = (
        f"Package: {name}\nStatus: {state}\nArchitecture: {architecture or 'amd64'}\n"
        f"Version: {version}\n{more}Description: key {key}"
    )
    _replace(status, "\n\n".join([*kept, paragraph]).rstrip("\n") + "\n")


def _replace(path: Path, text: str) -> None:
    """Write as dpkg does: another file takes the place."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.replace(path)
