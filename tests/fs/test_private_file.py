from __future__ import annotations

from typing import Any

import pytest
from scratch_image.fs.private_file import Format, to_bytes, to_text

FORMAT = Format("list", 3)
TEXT = b'{"format":"scratch_image list 3","values":{"paths":["/a","/\\udcff"]}}\n'


def _build(values: dict[str, Any]) -> list[bytes]:
    return [to_bytes(path) for path in values["paths"]]


def test_a_file_says_what_it_is() -> None:
    assert FORMAT.write({"paths": [to_text(b"/a"), to_text(b"/\xff")]}) == TEXT
    assert FORMAT.read(TEXT, _build) == [b"/a", b"/\xff"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="empty"),
        pytest.param(TEXT[:-3], id="cut off"),
        pytest.param(TEXT + b"{}", id="more than one document"),
        pytest.param(TEXT.replace(b"list 3", b"list 2"), id="another version"),
        pytest.param(TEXT.replace(b"list 3", b"seal 3"), id="another kind"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b'{"format":"scratch_image list 3"}', id="no values"),
        pytest.param(TEXT.replace(b"/a", b"/\\u0000"), id="NUL in a path"),
        pytest.param(TEXT.replace(b"udcff", b"ud800"), id="path that is no bytes"),
        pytest.param(TEXT.replace(b'"/a"', b"7"), id="path that is no text"),
        pytest.param(b"[" * 100_000, id="too deep"),
        pytest.param(b"\xff", id="no UTF-8"),
    ],
)
def test_any_other_file_is_as_good_as_none(text: bytes) -> None:
    assert FORMAT.read(text, _build) is None


@pytest.mark.parametrize(
    "name", [b"", b"/x y\n", b"\xff\xc3", "/é".encode(), b"\\u0000", b"\xed\xb3\xbf"]
)
def test_any_name_comes_back(name: bytes) -> None:
    assert to_bytes(to_text(name)) == name
