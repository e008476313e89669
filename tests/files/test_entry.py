from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scratch_image.errors import InputError
from scratch_image.files.entry import HEADER, Entry, read_entries, write_entries

NAMES = st.binary(min_size=1, max_size=12).filter(
    lambda name: not set(name) & set(b"/\0") and name not in (b".", b"..")
)
REASONS = st.sampled_from(["parent", "program", "run:default", "extra:a.extra"])


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    kind = draw(st.sampled_from(["dir", "file", "link", "hard"]))
    source = draw(st.sampled_from([b"", b"a/b c", b"/x"])) if kind == "file" else b""
    text = draw(st.sampled_from([b"", b"a b\n"])) if kind == "file" and not source else b""
    return Entry(
        kind,
        draw(st.integers(0, 0o7777)),
        draw(st.integers(0, 2**31)),
        draw(st.integers(0, 2**31)),
        b"/" + b"/".join(draw(st.lists(NAMES, min_size=1, max_size=4))),
        draw(NAMES) if kind in ("link", "hard") else b"",
        tuple(sorted(set(draw(st.lists(REASONS, min_size=1))))),
        source,
        text,
        draw(st.sampled_from(["", "cap_kill=ep", "cap_kill=i cap_bpf=ip"]))
        if kind in ("file", "hard")
        else "",
    )


@given(st.lists(entries(), max_size=5))
def test_text_comes_back(listed: list[Entry]) -> None:
    assert read_entries(write_entries(listed), "x") == tuple(listed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(b"", "x: it is not a whole one", id="nothing"),
        pytest.param(HEADER + b"dir 0755 0:0 /usr parent", "x: it is not a whole one",
                     id="cut short"),
        pytest.param(HEADER + b"dir 0755 0:0\n", "x:2: the line is malformed",
                     id="no path"),
        pytest.param(HEADER + b"dir 0999 0:0 /usr p\n", "x:2: the line is malformed",
                     id="mode"),
        pytest.param(HEADER + b"dir 755 0:0 /usr p\n", "x:2: the line is malformed",
                     id="mode is not in four digits"),
        pytest.param(HEADER + b"dir 0755 0:0 usr p\n", "x:2: the line is malformed",
                     id="relative"),
        pytest.param(HEADER + b"file 0755 0:0 /a/../b p\n", "x:2: the line is malformed",
                     id="dots"),
        pytest.param(HEADER + b"tree 0755 0:0 /a p\n", "x:2: the line is malformed",
                     id="kind"),
        pytest.param(HEADER + b"link 0777 0:0 /a ->\n", "x:2: the line is malformed",
                     id="link to nothing"),
        pytest.param(HEADER + b"file 0777 0:0 /a -> b p\n", "x:2: the line is malformed",
                     id="file with a target"),
        pytest.param(HEADER + b"dir 0755 0:0 /a <- b p\n", "x:2: the line is malformed",
                     id="directory with a source"),
        pytest.param(HEADER + b"file 0644 0:0 /a <- ../b p\n", "x:2: the line is malformed",
                     id="source outside of the project"),
        pytest.param(HEADER + b"file 0644 0:0 /a <- b = c p\n", "x:2: the line is malformed",
                     id="source and text"),
        pytest.param(HEADER + b"file 0777 -1:0 /a p\n", "x:2: the line is malformed",
                     id="owner"),
        pytest.param(HEADER + b"file 0777 0:0 /a + cap_none=p p\n",
                     "x:2: the line is malformed", id="no capabilities"),
        pytest.param(HEADER + b"dir 0777 0:0 /a + cap_kill=p p\n",
                     "x:2: the line is malformed", id="directory with capabilities"),
        pytest.param(HEADER + b"file 0777 0:0 /a + \\377 p\n",
                     "x:2: the line is malformed", id="capabilities that are no text"),
    ],
)  # fmt: skip
def test_bad_text_is_an_error_that_names_the_line(text: bytes, message: str) -> None:
    with pytest.raises(InputError) as error:
        read_entries(text, "x")

    assert str(error.value) == f"cannot read file list {message}; build it again"


@given(st.binary())
def test_any_text_gives_entries_or_an_error_of_ours(text: bytes) -> None:
    for given_text in (text, HEADER + text + b"\n"):
        try:
            found = read_entries(given_text, "x")
        except InputError:
            continue
        assert write_entries(found) == given_text
