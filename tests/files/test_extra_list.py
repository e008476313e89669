from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scratch_image.errors import InputError
from scratch_image.files.extra_list import Extra, LineKind, mentions, parse
from scratch_image.fs.paths import escape


def _none(name: str) -> bytes:
    raise FileNotFoundError(2, "No such file or directory")


def _parse(text: bytes, name: str = "x.extra", **lists: bytes) -> tuple[Extra, ...]:
    """Parse `text`, which may include `lists`, named without their suffix."""
    return parse(text, name, lambda other: lists[other.removesuffix(".extra").replace("/", "_")])


@pytest.mark.parametrize(
    ("line", "path"),
    [
        pytest.param(b"/etc/hosts", b"/etc/hosts", id="plain"),
        pytest.param(b"  /etc/hosts\t\r", b"/etc/hosts", id="blanks around"),
        pytest.param(b"/usr//share/games/", b"/usr/share/games", id="slashes"),
        pytest.param(b"/srv/a file", b"/srv/a file", id="blank inside"),
        pytest.param(b"/srv/#1", b"/srv/#1", id="hash inside"),
        pytest.param(rb"/srv/a\012b\134c", b"/srv/a\nb\\c", id="octal digits"),
        pytest.param(rb"/srv/\052\077\133a]", b"/srv/*?[a]", id="escaped wildcards"),
        pytest.param(rb"/srv/a\040mode=0640", b"/srv/a mode=0640", id="escaped option"),
        pytest.param(b"/srv/[a", b"/srv/[a", id="bracket that is not closed"),
        pytest.param(b"/srv/caf\xe9", b"/srv/caf\xe9", id="not UTF-8"),
        pytest.param(b'/srv/"x"', b'/srv/"x"', id="quotes"),
    ],
)
def test_line_names_a_path(line: bytes, path: bytes) -> None:
    text = b"# comment\n\n" + line + b"\n"

    assert parse(text, "x.extra", _none) == (Extra(LineKind.PATH, path, "x.extra", 3),)


@pytest.mark.parametrize(
    ("line", "kind", "path", "source"),
    [
        pytest.param(b"/srv/*.so", LineKind.GLOB, b"/srv/*.so", b"", id="star"),
        pytest.param(b"/srv/?", LineKind.GLOB, b"/srv/?", b"", id="question mark"),
        pytest.param(b"/srv/[ab]", LineKind.GLOB, b"/srv/[ab]", b"", id="set"),
        pytest.param(b"/srv/**/x", LineKind.GLOB, b"/srv/**/x", b"", id="any directories"),
        pytest.param(b"/opt/a -> /b", LineKind.MAP, b"/b", b"/opt/a", id="the machine's file"),
        pytest.param(b"conf/a b -> /b//c/", LineKind.MAP, b"/b/c", b"images/x/conf/a b", id="project's"),
        pytest.param(b"../y/a -> /b", LineKind.MAP, b"/b", b"images/y/a", id="file of another image"),
        pytest.param(b"dir /var/lib/x", LineKind.DIR, b"/var/lib/x", b"", id="directory"),
        pytest.param(b"link /a -> ../b c", LineKind.LINK, b"/a", b"../b c", id="link"),
        pytest.param(b"!/usr/share/doc", LineKind.OUT, b"/usr/share/doc", b"", id="left out"),
        pytest.param(b"! /usr/**/doc", LineKind.OUT, b"/usr/**/doc", b"", id="glob left out"),
    ],
)  # fmt: skip
def test_line_asks_for(line: bytes, kind: LineKind, path: bytes, source: bytes) -> None:
    name = "images/x/x.extra"

    assert parse(line, name, _none) == (Extra(kind, path, name, 1, source),)


@pytest.mark.parametrize(
    ("line", "mode", "owner"),
    [
        pytest.param(b"/a mode=0640", 0o640, None, id="mode"),
        pytest.param(b"/a owner=33:34", None, (33, 34), id="owner"),
        pytest.param(b"/a  mode=4755\towner=0:5", 0o4755, (0, 5), id="both"),
        pytest.param(b"/a owner=0:5 mode=755", 0o755, (0, 5), id="both the other way round"),
    ],
)
def test_options(line: bytes, mode: int, owner: tuple[int, int]) -> None:
    assert parse(line, "x", _none) == (Extra(LineKind.PATH, b"/a", "x", 1, b"", mode, owner),)


def test_included_list_stands_where_it_is_named() -> None:
    found = _parse(
        b"/a\ninclude sub/b.extra\n/z\n",
        "t/x.extra",
        t_sub_b=b"/b\ninclude ../c.extra\nf -> /f\n",
        t_c=b"/c\n",
    )

    assert [(extra.path, extra.source, extra.where) for extra in found] == [
        (b"/a", b"", "t/x.extra:1"),
        (b"/b", b"", "t/sub/b.extra:1"),
        (b"/c", b"", "t/c.extra:1"),
        (b"/f", b"t/sub/f", "t/sub/b.extra:3"),
        (b"/z", b"", "t/x.extra:3"),
    ]


def test_list_may_be_included_twice() -> None:
    found = _parse(b"include a.extra\ninclude b.extra\n", a=b"include b.extra\n", b=b"/b\n")

    assert [extra.path for extra in found] == [b"/b", b"/b"]


def test_mentions_are_what_is_included_and_mapped() -> None:
    texts = {"images/x/a.extra": b"more -> /srv/more\n", "images/c d": b""}
    text = rb"""
    # include never
    /etc/x
    include a.extra
    data -> /srv/data
    include ../c\040d
    include nul\000
    include gone
    """

    def read(name: str) -> bytes:
        if name not in texts:
            raise FileNotFoundError
        return texts[name]

    assert mentions(text, "images/x/x.extra", read) == {
        *texts, "images/x/gone", "images/x/more", "images/x/data"
    }  # fmt: skip


FAULTS = [
    (b"etc/hosts", "the path is not absolute"),
    (b"/a/../b", "the path has a . or .. in it"),
    (b"/a/./b", "the path has a . or .. in it"),
    (rb"/x\9", "a backslash stands before three octal digits only"),
    (rb"/nul\000", "a path cannot hold a NUL byte"),
    (rb"include nul\000", "a path cannot hold a NUL byte"),
    (rb"include x\9", "a backslash stands before three octal digits only"),
    (b"/a mode=0999", "options are mode=0640 and owner=33:33, in digits"),
    (b"/a owner=www-data", "options are mode=0640 and owner=33:33, in digits"),
    (b"link /a", "a link has a target: link PATH -> TARGET"),
    (b"link /a -> b mode=0777", "neither a link nor what is left out has a mode or an owner"),
    (b"!/a mode=0777", "neither a link nor what is left out has a mode or an owner"),
    (b"dir a", "the path is not absolute"),
    (b"/", "that is all of the root: name what is in it"),
    (b"a -> //", "that is all of the root: name what is in it"),
    (b"a -> b", "the path is not absolute"),
    (b"!a", "the path is not absolute"),
    (b"../a -> /b", "the source lies outside of the project; write its absolute path"),
    (b"/srv/[z-a]", "a set in the glob has no order"),
    (b"include gone", "gone cannot be read (No such file or directory)"),
    (b"include x.extra", "x.extra includes itself"),
]


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(InputError) as error:
        parse(b"\n".join([b"/good", *(line for line, _ in FAULTS)]), "x.extra", _none)

    told = ", ".join(f"x.extra:{at}: {what}" for at, (_, what) in enumerate(FAULTS, start=2))
    assert str(error.value) == (
        f"cannot read extra list x.extra: {told}; write PATH, GLOB, SOURCE -> PATH, dir PATH, "
        "link PATH -> TARGET, !GLOB or include FILE, comments after # at a line's start"
    )


def test_faults_of_included_lists_are_told_with_the_others() -> None:
    with pytest.raises(InputError) as error:
        _parse(b"a\ninclude b.extra\n", b=b"b\ninclude x.extra\n")

    told = str(error.value)
    assert "x.extra:1: the path is not absolute, b.extra:1: the path is not absolute" in told
    assert "b.extra:2: x.extra includes itself" in told


@given(st.binary())
def test_any_text_gives_paths_or_an_error_of_ours(text: bytes) -> None:
    try:
        extras = parse(text, "x", _none)
    except InputError:
        return
    assert all(extra.path[:1] == b"/" for extra in extras)


@given(st.lists(st.binary(min_size=1).filter(lambda name: not set(name) & set(b"/\0*?["))))
def test_escaped_names_come_back(names: list[bytes]) -> None:
    names = [name for name in names if name not in (b".", b"..")]
    text = b"".join(b"/" + escape(name) + b"\n" for name in names)

    assert [extra.path for extra in parse(text, "x", _none)] == [b"/" + name for name in names]
