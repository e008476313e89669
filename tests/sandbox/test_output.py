"""Tests of output.py."""

from __future__ import annotations

import pytest
from scratch_image.sandbox import output, process


def run(*argv: str) -> bytes:
    """Return the output of a command."""
    return process.run(argv, timeout=20).stdout


def test_only_the_ends_of_much_output_are_kept() -> None:
    found = run("sh", "-c", "echo first; head -c 9000000 /dev/zero; echo last")
    size = 9_000_000 + len("first\nlast\n") - 2 * output.KEPT
    mark = b"\n[%d bytes left out]\n" % size
    assert found.startswith(b"first\n\0")
    assert found.endswith(b"\0last\n")
    assert found.count(mark) == 1
    assert len(found) == 2 * output.KEPT + len(mark)


def test_output_that_just_fits_is_kept_whole() -> None:
    assert run("head", "-c", str(2 * output.KEPT), "/dev/zero") == bytes(2 * output.KEPT)


@pytest.mark.parametrize(
    ("stdout", "stderr", "quote"),
    [
        pytest.param(b" \n", b"one\ntwo\n", "said 'one | two'", id="lines"),
        pytest.param(b"out", b"\xff", r"said '\\xff' after it printed 'out'", id="both outputs"),
        pytest.param(b"", b"x" * 301, f"said '...{'x' * 300}'", id="the end of long ones"),
    ],
)
def test_quote(stdout: bytes, stderr: bytes, quote: str) -> None:
    assert output.quote_output(stdout, stderr) == quote
