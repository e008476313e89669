"""Tests of record.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scratch_image.errors import InputError
from scratch_image.trace import record as record_text
from scratch_image.trace.record import Record, Use, Used, read_record, write_record

RECORD = Record(
    (
        Used(Use.STAT, b"/"),
        Used(Use.LINK, b"/bin"),
        Used(Use.READ, b"/etc/a b\n\xff\\"),
        Used(Use.WRITE, b"/tmp/out"),
        Used(Use.LIST, b"/usr"),
        Used(Use.EXEC, b"/usr/bin/true"),
        Used(Use.ABSENT, b"/x"),
    )
)

TEXT = rb"""# scratch_image trace 1
stat /
link /bin
read /etc/a\040b\012\377\134
write /tmp/out
list /usr
exec /usr/bin/true
absent /x
"""


def test_record_as_text() -> None:
    assert write_record(RECORD) == TEXT
    assert read_record(TEXT) == RECORD


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        pytest.param(b"", 1, "it is no whole record", id="empty"),
        pytest.param(b"# another\n", 1, "it is no whole record", id="header"),
        pytest.param(TEXT + b"stat", 1, "it is no whole record", id="cut"),
        pytest.param(TEXT + b"\n", 9, "it is no kind and link-free path", id="empty line"),
        pytest.param(TEXT + b"look /y\n", 9, "it is no kind and link-free path", id="kind"),
        pytest.param(TEXT + b"create /y\n", 9, "it is no kind and link-free path", id="log only"),
        pytest.param(TEXT + b"stat y\n", 9, "it is no kind and link-free path", id="relative"),
        pytest.param(TEXT + b"stat /y/../z\n", 9, "it is no kind and link-free path", id="dots"),
        pytest.param(TEXT + b"stat /y z\n", 9, "it is no kind and link-free path", id="blank"),
        pytest.param(TEXT + b"stat /y\\000\n", 9, "it is no kind and link-free path", id="NUL"),
        pytest.param(TEXT + b"stat /y\\101\n", 9, "it is no kind and link-free path", id="escape"),
        pytest.param(TEXT + b"stat /a\n", 9, "it is out of order", id="order"),
        pytest.param(TEXT + b"stat /x\n", 9, "it is out of order", id="twice"),
    ],
)
def test_malformed_records(text: bytes, line: int, cause: str) -> None:
    with pytest.raises(InputError) as caught:
        read_record(text)
    assert str(caught.value) == (
        f"cannot read line {line} of a trace record: {cause}; build it again"
    )


@given(text=st.binary())
def test_no_text_raises_anything_else(text: bytes) -> None:
    try:
        record = read_record(record_text.HEADER + text)
    except InputError:
        return
    assert write_record(record) == record_text.HEADER + text
