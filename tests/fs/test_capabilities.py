from __future__ import annotations

import os
import re
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scratch_image.fs import capabilities

RAW, ADMIN = 1 << 13, 1 << 21


def _attribute(revision: int, *numbers: int, effective: int = 1) -> bytes:
    return struct.pack(f"<{len(numbers) + 1}I", revision << 24 | effective, *numbers)


@pytest.mark.parametrize(
    ("attribute", "text"),
    [
        pytest.param(_attribute(2, RAW, 0, 0, 0), "cap_net_raw=ep", id="effective"),
        pytest.param(_attribute(2, RAW, 0, 0, 0, effective=0), "cap_net_raw=p", id="permitted"),
        pytest.param(_attribute(2, 0, RAW, 0, 0), "cap_net_raw=ei", id="inheritable"),
        pytest.param(_attribute(2, RAW | ADMIN, RAW | ADMIN, 1 << 7, 0),
                     "cap_net_raw,cap_sys_admin=eip cap_bpf=ep", id="several"),
        pytest.param(_attribute(2, 0, 0, 1 << 31, 0, effective=0), "63=p", id="unknown to us"),
        pytest.param(_attribute(2, 0, 0, 0, 0, effective=0), "=", id="none at all"),
    ],
)  # fmt: skip
def test_attribute_and_text_say_the_same(attribute: bytes, text: str) -> None:
    assert capabilities.text(attribute) == text
    assert capabilities.attribute(text) == attribute


@pytest.mark.parametrize(
    "attribute",
    [
        pytest.param(_attribute(1, RAW, 0), id="revision 1"),
        pytest.param(_attribute(3, RAW, 0, 0, 0, 0), id="revision 3 of the machine's root"),
    ],
)
def test_other_revisions_that_say_the_same_become_the_second(attribute: bytes) -> None:
    made = capabilities.attribute(capabilities.text(attribute))

    assert made == _attribute(2, RAW, 0, 0, 0)


@pytest.mark.parametrize(
    ("attribute", "cause"),
    [
        pytest.param(_attribute(3, RAW, 0, 0, 0, 1000),
                     "they hold in the user namespace of user 1000 only", id="of a namespace"),
        pytest.param(_attribute(4, RAW, 0, 0, 0),
                     "they are of no known form (0100000400200000000000000000000000000000)",
                     id="newer revision"),
        pytest.param(_attribute(2, RAW), "they are of no known form (0100000200200000)", id="short"),
        pytest.param(b"", "they are of no known form ()", id="empty"),
    ],
)  # fmt: skip
def test_what_no_image_can_hold_is_an_error(attribute: bytes, cause: str) -> None:
    with pytest.raises(ValueError, match=r"^they ") as error:
        capabilities.text(attribute)

    assert str(error.value) == cause


@pytest.mark.parametrize(
    "text",
    ["", "x", "cap_net_raw", "cap_net_raw=pe", "cap_none=p", "cap_net_raw=e", "cap_net_raw=p ",
     "cap_sys_admin=p cap_net_raw=p", "cap_sys_admin,cap_net_raw=p", "13=p", "64=p", "=p",
     "cap_net_raw=ep cap_sys_admin=p"],
)  # fmt: skip
def test_other_texts_are_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        capabilities.attribute(text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cap_net_raw,cap_kill=ep", {"cap_net_raw", "cap_kill"}),
        ("cap_net_raw=ei cap_kill=ip", {"cap_kill"}),
        ("=", set()),
        ("", set()),
    ],
)
def test_permitted(text: str, names: set[str]) -> None:
    assert capabilities.permitted_names(text) == names


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.booleans())
def test_any_capabilities_come_back(permitted: int, inheritable: int, effective: bool) -> None:
    words = [
        number >> shift & 0xFFFFFFFF for shift in (0, 32) for number in (permitted, inheritable)
    ]
    some = effective and bool(permitted or inheritable)
    attribute = _attribute(2, *words, effective=int(some))

    assert capabilities.attribute(capabilities.text(attribute)) == attribute


@given(st.binary(max_size=30))
def test_any_bytes_give_a_text_or_an_error_of_ours(attribute: bytes) -> None:
    try:
        text = capabilities.text(attribute)
    except ValueError:
        return
    assert capabilities.text(capabilities.attribute(text)) == text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give capabilities")
def test_text_is_what_libcap_shows(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for text in ("cap_net_raw=ep", "cap_chown,cap_checkpoint_restore=eip", "cap_kill=i", "="):
        path.write_text("")
        os.setxattr(path, capabilities.ATTRIBUTE, capabilities.attribute(text))

        shown = subprocess.run(["getcap", path], capture_output=True, text=True, check=True)

        assert shown.stdout == f"{path} {text}\n"
