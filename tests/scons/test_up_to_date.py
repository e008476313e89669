"""The declaration of an SConscript's images, as a seal has it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scratch_image.elf import loader_cache
from scratch_image.errors import InputError
from scratch_image.files import dpkg
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem
from scratch_image.image.reference import Reference
from scratch_image.scons import footprint, up_to_date
from scratch_image.scons.up_to_date import Declaration, DeclaredCall, Places, Seal

CALL = DeclaredCall(
    "12ab",
    ((Reference.parse("ghcr.io/me/a:1"), "build/a.oci.tar"),),
    (("unix:///socket", "build/a.oci.tar"),),
)
DECLARATION = Declaration(
    (CALL, DeclaredCall("34cd", (), ())),
    frozenset([b"/x/build/a.tar", b"/x/build/\xff"]),
    frozenset([b"/x/a"]),
    frozenset([b"/x/b"]),
    frozenset(["strace 6.1"]),
    (b"/second", b"/first"),
)


def test_values_are_read_back() -> None:
    assert Declaration.read(json.loads(json.dumps(DECLARATION.values()))) == DECLARATION


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("calls", [["12ab", [["A//", "x"]], []]], id="no tag"),
        pytest.param("calls", [["12ab", []]], id="part of a call"),
        pytest.param("calls", 1, id="number"),
        pytest.param("targets", ["\0"], id="no path"),
        pytest.param("inputs", [1], id="number for a path"),
    ],
)
def test_values_of_another_form_are_refused(name: str, value: Any) -> None:
    with pytest.raises((AttributeError, InputError, TypeError, ValueError)):
        Declaration.read({**DECLARATION.values(), name: value})


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Make a root of a few files, older than a seal asks for."""
    base = tmp_path / "base"
    (base / "dir").mkdir(parents=True)
    (base / "listed").mkdir()
    (base / "file").write_text("content")
    (base / "link").symlink_to("file")
    return base


def _settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let three seconds pass."""
    now = time.time_ns() + 3 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: now)


def _places(base: Path) -> Places:
    root = Root(WatchedFileSystem(os.fsencode(base)))
    for path in (b"/file", b"/link", b"/dir", b"/absent"):
        root.status(path)
    with root.open(b"/file"):
        pass
    root.listing(b"/listed")
    return Places.of(footprint.take(root), root)


def _sealed(base: Path, monkeypatch: pytest.MonkeyPatch) -> Seal:
    _settle(monkeypatch)
    taken = Seal.take("signature", _places(base))
    assert taken is not None
    return taken


def _rename_over(base: Path) -> None:
    other = base / "other"
    other.write_text("content")
    other.replace(base / "file")


def _same_time_and_size(base: Path) -> None:
    times = (base / "file").stat()
    (base / "file").write_text("CONTENT")
    os.utime(base / "file", ns=(times.st_atime_ns, times.st_mtime_ns))


def _relink(base: Path) -> None:
    (base / "link").unlink()
    (base / "link").symlink_to("dir")


@pytest.mark.parametrize(
    ("edit", "holds"),
    [
        pytest.param(lambda base: None, True, id="nothing"),
        pytest.param(lambda base: (base / "unseen").write_text(""), True, id="not looked at"),
        pytest.param(lambda base: (base / "dir/new").write_text(""), True, id="not listed"),
        pytest.param(lambda base: (base / "listed/new").write_text(""), False, id="listed"),
        pytest.param(lambda base: (base / "dir").chmod(0o700), False, id="mode of a directory"),
        pytest.param(lambda base: (base / "dir").rmdir(), False, id="vanished"),
        pytest.param(lambda base: (base / "absent").write_text(""), False, id="appeared"),
        pytest.param(lambda base: (base / "file").chmod(0o600), False, id="mode"),
        pytest.param(lambda base: os.link(base / "file", base / "hard"), False, id="hard link"),
        pytest.param(_rename_over, False, id="same content, another file"),
        pytest.param(_same_time_and_size, False, id="same time and size, other content"),
        pytest.param(_relink, False, id="link"),
    ],
)
def test_seal_holds_until_something_moves(
    base: Path, monkeypatch: pytest.MonkeyPatch, edit: Callable[[Path], None], holds: bool
) -> None:
    taken = _sealed(base, monkeypatch)

    edit(base)

    assert taken.holds("signature") == holds


def test_seal_of_another_signature_does_not_hold(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not _sealed(base, monkeypatch).holds("another")


def test_what_has_just_changed_is_not_sealed(base: Path) -> None:
    assert Seal.take("signature", _places(base)) is None

    time.sleep(2.1)

    assert Seal.take("signature", _places(base)) is not None


def test_databases_are_sealed_where_they_were_asked(base: Path) -> None:
    (base / "etc").mkdir()
    root = Root(WatchedFileSystem(os.fsencode(base)))
    root.look(b"libc.so.6", Aspect.SONAME)
    root.look(b"/file", Aspect.OWNER)

    places = Places.of(footprint.take(root), root)

    assert {
        root.files.host_path(path) for path in (loader_cache.CACHE, *dpkg.FILES)
    } <= places.whole
    assert not [path for path in places.whole if path.endswith(b"libc.so.6")]


def test_hidden_directory_may_gain_what_it_likes(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Root(WatchedFileSystem(os.fsencode(base)))
    root.hide([b"/listed"])
    root.listing(b"/listed")
    _settle(monkeypatch)
    taken = Seal.take(
        "signature", Places.of(footprint.take(root), Root(WatchedFileSystem(os.fsencode(base))))
    )
    assert taken is not None

    (base / "listed/new").write_text("")

    assert taken.holds("signature")


def test_engine_is_asked_again(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Root(WatchedFileSystem(os.fsencode(base)))
    root.look(b"unix:///nonexistent one:1", Aspect.IMAGE)
    places = Places.of(footprint.take(root), root)
    _settle(monkeypatch)

    (asked,) = places.remotes
    assert asked[2].startswith("unknown ")
    for found, holds in ((asked[2], True), ("sha256:0", False)):
        remotes = frozenset([(*asked[:2], found)])
        taken = Seal.take("signature", Places(remotes=remotes))
        assert taken is not None
        assert taken.holds("signature") == holds


def test_text_is_read_back(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = base / "a b\n\udcff"
    odd.write_text("")
    _settle(monkeypatch)
    places = _places(base) | Places(
        frozenset([os.fsencode(odd)]),
        remotes=frozenset([(b"unix:///socket a:1", Aspect.IMAGE, "unknown a b")]),
    )
    taken = Seal.take("signature", places)
    assert taken is not None

    assert up_to_date.read(taken.text()) == taken


WHOLE = Seal(
    "a", "b", Places(frozenset([b"/a"]), remotes=frozenset([(b"x", Aspect.IMAGE, "absent")]))
).text()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"# scratch_image seal 1\nsignature a\nlstat b\nwhole /a\n",
        WHOLE[:-3],
        WHOLE.replace(b"seal 3", b"seal 2"),
        WHOLE.replace(b"lstat", b"stat"),
        WHOLE.replace(b"signature", b"\xff"),
        WHOLE.replace(b'["/a"]', b"7"),
        WHOLE.replace(b'["/a"]', b"[7]"),
        WHOLE.replace(b'["/a"]', b'["/a\\u0000b"]'),
        WHOLE.replace(b'"image"', b'"content"'),
        WHOLE.replace(b',"absent"', b""),
    ],
)
def test_what_is_no_whole_seal_is_none(text: bytes) -> None:
    assert up_to_date.read(text) is None


@given(st.binary(max_size=60), st.integers(0, 200), st.integers(0, 60))
def test_damaged_seal_raises_nothing(junk: bytes, start: int, length: int) -> None:
    remote = (b"unix:///nonexistent a:1", Aspect.IMAGE, "absent")
    whole = Places(frozenset([b"/etc/passwd"]), frozenset([b"/etc"]), frozenset([remote]))
    text = Seal("a", "b", whole).text()

    found = up_to_date.read(text[:start] + junk + text[start + length :])

    assert found is None or not found.holds("another")
    assert found is None or found.holds(found.signature) in (True, False)
