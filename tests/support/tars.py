"""Tars of any members, hostile ones included."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

from scratch_image.image import compression, tar_header


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", **fields: int) -> bytes:
    """Return one member of a tar, as it stands in it; a file holds its own name."""
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode = kind, link, fields.pop("mode", 0o755)
    for field, value in fields.items():
        setattr(made, field, value)
    data = name.encode("utf-8", "surrogateescape") if kind == tarfile.REGTYPE else b""
    made.size = fields.get("size", len(data))
    return (
        made.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        + data
        + tar_header.padding(len(data))
    )


def compressed(data: bytes, suffix: str, step: int = 1 << 20) -> bytes:
    """Return `data` compressed, written `step` bytes at a time."""
    file = io.BytesIO()
    with compression.compress(file, suffix) as sink:
        for start in range(0, len(data), step):
            sink.write(data[start : start + step])
    return file.getvalue()


def packed(directory: Path, *members: bytes, suffix: str = ".tar") -> bytes:
    """Write a layer of `members`; return where it lies."""
    path = directory / f"layer{suffix}"
    with path.open("wb") as sink, compression.compress(sink, suffix) as stream:
        stream.write(b"".join(members) + tar_header.END)
    return os.fsencode(path)


def listing(path: Path) -> bytes:
    """Return what GNU tar says of the tar `path`, without a word of warning."""
    told = subprocess.run(
        ["tar", "--full-time", "-tvf", path],
        env={"LC_ALL": "C", "TZ": "UTC", "PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
    )
    assert told.stderr == b""
    return told.stdout
