"""Logs of strace: golden files, captured by trace/strace/capture.py, and lines in tests."""

from __future__ import annotations

from pathlib import Path

from scratch_image.trace.log import Access, parse

GOLDEN = Path(__file__).parents[1] / "trace" / "strace"

GOLDEN_LOGS = [path.read_bytes() for path in sorted(GOLDEN.glob("*.strace"))]


def read_golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.strace").read_bytes()


def access_key(access: Access) -> tuple[object, ...]:
    """Return the key by which accesses are sorted."""
    return access.path, access.kind, access.follow, access.real or b"", access.sure


def accesses(*lines: bytes, cwd: bytes = b"/w") -> list[Access]:
    """Return the accesses in `lines`, which are understood and hide nothing."""
    log = parse(b"\n".join(lines) + b"\n", cwd)
    assert log.problems == ()
    assert log.unparsed == ()
    return list(log.accesses)
