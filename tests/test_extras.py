from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scratch_image.errors import InputError
from scratch_image.extras import Extra, parse
from scratch_image.paths import escape


@pytest.mark.parametrize(
    ("line", "path"),
    [
        pytest.param(b"/etc/hosts", b"/etc/hosts", id="plain"),
        pytest.param(b"  /etc/hosts\t\r", b"/etc/hosts", id="blanks around"),
        pytest.param(b"/usr//share/games/", b"/usr/share/games", id="slashes"),
        pytest.param(b"/srv/a file", b"/srv/a file", id="blank inside"),
        pytest.param(b"/srv/#1", b"/srv/#1", id="hash inside"),
        pytest.param(rb"/srv/a\012b\134c", b"/srv/a\nb\\c", id="octal digits"),
        pytest.param(b"/srv/caf\xe9", b"/srv/caf\xe9", id="not UTF-8"),
        pytest.param(b'/srv/"x"', b'/srv/"x"', id="quotes"),
    ],
)
def test_line_names_a_path(line: bytes, path: bytes) -> None:
    assert parse(b"# comment\n\n" + line + b"\n", "x.extra") == (Extra(path, "x.extra", 3),)


def test_all_faults_are_told_at_once() -> None:
    text = b"/good\netc/hosts\n/a/../b\n/a/./b\n/x\\9\n/nul\\000\n"

    with pytest.raises(InputError) as error:
        parse(text, "x.extra")

    assert str(error.value) == (
        "cannot read extra list x.extra: x.extra:2: the path is not absolute, "
        "x.extra:3: the path has a . or .. in it, x.extra:4: the path has a . or .. in it, "
        "x.extra:5: a backslash stands before three octal digits only, "
        "x.extra:6: a path cannot hold a NUL byte; "
        "write one absolute path a line, comments after # at its start"
    )


@given(st.binary())
def test_any_text_gives_paths_or_an_error_of_ours(text: bytes) -> None:
    try:
        extras = parse(text, "x")
    except InputError:
        return
    assert all(extra.path[:1] == b"/" for extra in extras)


@given(st.lists(st.binary(min_size=1).filter(lambda name: not set(name) & set(b"/\0"))))
def test_escaped_names_come_back(names: list[bytes]) -> None:
    names = [name for name in names if name not in (b".", b"..")]
    text = b"".join(b"/" + escape(name) + b"\n" for name in names)

    assert [extra.path for extra in parse(text, "x")] == [b"/" + name for name in names]
