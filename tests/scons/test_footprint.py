from __future__ import annotations

import io
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from debs import install
from hypothesis import given
from hypothesis import strategies as st
from scratch_image.elf.loader_cache import loader_cache
from scratch_image.files import dpkg
from scratch_image.fs.digest import Digest
from scratch_image.fs.file_system import FileSystem
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem
from scratch_image.scons import footprint

NOT_AN_ENGINE = b"unix:///nonexistent/docker.sock"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/one").write_text("1")
    (tmp_path / "file").write_text("content")
    (tmp_path / "link").symlink_to("file")
    return tmp_path


def _looked(base: Path) -> Root:
    root = Root(WatchedFileSystem(os.fsencode(base), epoch=10))
    root.look(b"/file", Aspect.CONTENT)
    root.look(b"/file", Aspect.MTIME)
    root.look(b"/file", Aspect.HARD)
    root.look(b"/link", Aspect.STAT)
    root.look(b"/dir", Aspect.LISTING)
    root.look(b"/absent", Aspect.STAT)
    root.look(b"/dir/one", Aspect.SIZE)
    return root


def test_text_has_each_look_and_comes_back(base: Path) -> None:
    taken = footprint.take(_looked(base))
    text = taken.text()

    document = json.loads(text)
    assert document["format"] == "scratch_image footprint 2"
    assert {word: list(found) for word, found in document["values"]["states"].items()} == {
        "stat": ["/absent", "/link"],
        "listing": ["/dir"],
        "size": ["/dir/one"],
        "content": ["/file"],
        "hard": ["/file"],
        "mtime": ["/file"],
    }
    assert footprint.read(text) == taken


def test_two_builds_never_leave_the_same_footprint(base: Path) -> None:
    root = _looked(base)

    assert footprint.take(root).signature() != footprint.take(root).signature()


def test_nothing_changed_gives_the_same_signature(base: Path) -> None:
    taken = footprint.take(_looked(base))

    assert (
        taken.again(Root(WatchedFileSystem(os.fsencode(base), epoch=10))).signature()
        == taken.signature()
    )


def _chmod(base: Path) -> None:
    (base / "file").chmod(0o600)


def _same_time(base: Path) -> None:
    before = (base / "file").stat()
    (base / "file").write_text("CONTENT")
    os.utime(base / "file", ns=(before.st_atime_ns, before.st_mtime_ns))


def _replace_link(base: Path) -> None:
    (base / "link").unlink()
    (base / "link").write_text("content")


def _retarget(base: Path) -> None:
    (base / "link").unlink()
    (base / "link").symlink_to("dir")


def _swap_kind(base: Path) -> None:
    (base / "dir/one").unlink()
    (base / "dir/one").mkdir()


@pytest.mark.parametrize(
    ("edit", "phrases"),
    [
        pytest.param(lambda base: (base / "file").write_text("other"),
                     ["/file: content changed"], id="content"),
        pytest.param(_same_time, ["/file: content changed"], id="content, same size and time"),
        pytest.param(_chmod, ["/file: mode or owner changed from 0644 {owner} to 0600 {owner}"],
                     id="mode"),
        pytest.param(_retarget, ["/link: link changed from file to dir"], id="link"),
        pytest.param(_replace_link, ["/link: link became file"], id="kind"),
        pytest.param(lambda base: (base / "absent").write_text(""), ["/absent: appeared"],
                     id="appeared"),
        pytest.param(lambda base: (base / "file").unlink(), ["/file: vanished"],
                     id="vanished"),
        pytest.param(lambda base: (base / "dir/two").write_text(""), ["/dir: listing changed"],
                     id="listing"),
        pytest.param(lambda base: (base / "dir/one").write_text("22"), ["/dir/one: size changed"],
                     id="size"),
        pytest.param(_swap_kind, ["/dir: listing changed", "/dir/one: file became dir"],
                     id="kind of a listed name"),
        pytest.param(lambda base: (base / "hard").hardlink_to(base / "file"),
                     ["/file: hard links changed"], id="hard link"),
        pytest.param(lambda base: os.utime(base / "file", (3, 3)),
                     ["/file: modification time changed"], id="time before the epoch"),
        pytest.param(lambda base: os.utime(base / "file"), [], id="touch"),
        pytest.param(lambda base: (base / "unread").write_text(""), [], id="unread file"),
    ],
)  # fmt: skip
def test_explain_names_the_path_and_how_it_changed(
    base: Path, edit: Callable[[Path], object], phrases: list[str]
) -> None:
    (base / "file").chmod(0o644)
    old = footprint.take(_looked(base))

    edit(base)
    new = old.again(Root(WatchedFileSystem(os.fsencode(base), epoch=10)))

    owner = f"{os.getuid()}:{os.getgid()}"
    assert footprint.explain(old, new) == [phrase.format(owner=owner) for phrase in phrases]
    assert (old.signature() == new.signature()) == (not phrases)


@pytest.mark.parametrize(
    ("content", "phrases"),
    [
        pytest.param("other data", [], id="as before"),
        pytest.param("#!/bin/sh", ["/file: kind of content changed"], id="a script now"),
    ],
)
def test_magic_is_all_that_counts(base: Path, content: str, phrases: list[str]) -> None:
    root = Root(WatchedFileSystem(os.fsencode(base)))
    root.look(b"/file", Aspect.MAGIC)
    old = footprint.take(root)

    (base / "file").write_text(content)

    assert footprint.explain(old, old.again(Root(WatchedFileSystem(os.fsencode(base))))) == phrases


@pytest.mark.parametrize(
    ("content", "phrases"),
    [
        pytest.param("\x7fELF other", [], id="as before"),
        pytest.param(
            "\x7fELF /etc/ssl/cert.pem", ["/file: use of certificates changed"], id="asks"
        ),
    ],
)
def test_use_of_certificates_is_all_that_counts(
    base: Path, content: str, phrases: list[str]
) -> None:
    root = Root(WatchedFileSystem(os.fsencode(base)))
    root.look(b"/file", Aspect.TRUST)
    old = footprint.take(root)

    (base / "file").write_text(content)

    assert footprint.explain(old, old.again(Root(WatchedFileSystem(os.fsencode(base))))) == phrases


def test_unrelated_libraries_in_the_cache_do_not_matter(base: Path) -> None:
    root = Root(WatchedFileSystem(os.fsencode(base)))
    root.look(b"libnone.so.1", Aspect.SONAME)
    old = footprint.take(root)

    assert old.again(Root(WatchedFileSystem(os.fsencode(base)))) == old


def test_answer_of_the_cache_is_a_state() -> None:
    root = Root()
    root.look(b"libc.so.6", Aspect.SONAME)
    old = footprint.take(root)
    other = footprint.Footprint(old.nonce, old.stamp, {(b"libc.so.6", Aspect.SONAME): "other"})

    assert footprint.explain(old, other) == ["libc.so.6: answer of ld.so.cache changed"]


def test_package_of_a_file_is_a_state_of_that_file_alone(base: Path) -> None:
    install(base, "one", {"/usr/bin/one": ""})
    root = Root(WatchedFileSystem(os.fsencode(base)))
    root.look(b"/usr/bin/one", Aspect.OWNER)
    old = footprint.take(root)

    install(base, "two", {"/usr/bin/two": ""})
    unrelated = old.again(Root(WatchedFileSystem(os.fsencode(base))))
    install(base, "one", {"/usr/bin/one": ""}, version="2")
    updated = old.again(Root(WatchedFileSystem(os.fsencode(base))))

    assert unrelated.signature() == old.signature()
    assert unrelated.stamp != old.stamp
    assert footprint.explain(old, updated) == ["/usr/bin/one: Debian package changed"]


def test_database_that_is_the_same_is_not_read(base: Path) -> None:
    install(base, "one", {"/usr/bin/one": ""})
    root = Root(WatchedFileSystem(os.fsencode(base)))
    root.look(b"/usr/bin/one", Aspect.OWNER)
    known = "an answer that no database gives"
    old = replace(footprint.take(root), states={(b"/usr/bin/one", Aspect.OWNER): known})

    assert old.again(Root(WatchedFileSystem(os.fsencode(base)))) == old


@pytest.mark.parametrize(
    ("edit", "is_read"),
    [
        pytest.param(lambda base: None, False, id="nothing"),
        pytest.param(lambda base: install(base, "one", {}), True, id="dpkg's database"),
        pytest.param(lambda base: (base / "file").chmod(0o600), True, id="mode"),
        pytest.param(lambda base: os.utime(base / "file", (1, 1)), True, id="time"),
        pytest.param(_same_time, True, id="content, same size and time"),
    ],
)
def test_file_that_is_the_same_is_not_read_again(
    base: Path, monkeypatch: pytest.MonkeyPatch, edit: Callable[[Path], object], *, is_read: bool
) -> None:
    root = Root(WatchedFileSystem(os.fsencode(base)))
    root.look(b"/file", Aspect.SECRET)
    root.look(b"/file", Aspect.MAGIC)
    root.look(b"/file", Aspect.CONTENT)
    time.sleep(0.05)
    old = footprint.take(root)
    edit(base)
    read = []
    opened = FileSystem.open

    def noted(files: FileSystem, path: bytes) -> io.FileIO:
        read.append(path)
        return opened(files, path)

    monkeypatch.setattr(FileSystem, "open", noted)
    monkeypatch.setattr("scratch_image.fs.root._found", {})

    again = old.again(Root(WatchedFileSystem(os.fsencode(base))))

    assert bool(read) == is_read
    assert is_read or again == old


def test_fresh_file_is_read_again(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "is_fresh", lambda _: True)
    root = Root(WatchedFileSystem(os.fsencode(base)))
    root.look(b"/file", Aspect.MAGIC)

    assert footprint.take(root).identities == {}


def test_engine_that_is_down_is_a_state(base: Path) -> None:
    root = Root(WatchedFileSystem(os.fsencode(base)))
    root.look(NOT_AN_ENGINE + b" hello:latest", Aspect.IMAGE)
    taken = footprint.take(root)

    [found] = taken.states.values()
    assert found.startswith("unknown cannot reach engine")


WHOLE = footprint.Footprint("1", "-", {(b"/x", Aspect.STAT): "absent"}).text()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"# scratch_image footprint 1\nnonce 1\ndpkg -\n", id="older version"),
        pytest.param(b'{"format":"scratch_image footprint 2"}', id="header alone"),
        pytest.param(WHOLE.replace(b"footprint 2", b"footprint 3"), id="other version"),
        pytest.param(WHOLE.replace(b"nonce", b"once"), id="no nonce"),
        pytest.param(WHOLE.replace(b"dpkg", b"rpm"), id="no stamp"),
        pytest.param(WHOLE.replace(b"stat", b"smell"), id="other aspect"),
        pytest.param(WHOLE.replace(b'"absent"', b"null"), id="no state"),
        pytest.param(WHOLE[:-4], id="cut short"),
    ],
)
def test_text_that_is_not_a_whole_footprint_is_none(text: bytes) -> None:
    assert footprint.read(text) is None


@given(st.binary())
def test_any_bytes_are_a_footprint_or_none(text: bytes) -> None:
    footprint.read(text)
    footprint.read(WHOLE.replace(b'"absent"', text))


def test_registry_that_is_down_is_a_state(base: Path) -> None:
    root = Root(WatchedFileSystem(os.fsencode(base)))
    root.look(b"http://127.0.0.1:1/x:1", Aspect.TAG)

    taken = footprint.take(root)

    (found,) = taken.states.values()
    assert found.startswith("unknown cannot reach registry")
    assert taken.again(root).signature() == taken.signature()


# Whatever changes while a step runs


def _append(path: Path) -> None:
    with path.open("a") as file:
        file.write("more")


def _rewrite_in_place(path: Path) -> None:
    """Write other bytes of the same size, and set the old time again."""
    known = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns))


def _there_and_back(path: Path) -> None:
    known = path.read_bytes()
    path.write_bytes(b"")
    path.write_bytes(known)


def _relink(path: Path) -> None:
    path.unlink()
    path.symlink_to("dir")


def _none(path: Path) -> None:
    pass


MEANWHILE = [
    pytest.param("file", Aspect.CONTENT, _none, False, id="nothing"),
    pytest.param("file", Aspect.CONTENT, _append, True, id="content"),
    pytest.param("file", Aspect.CONTENT, _rewrite_in_place, True, id="content of the same time"),
    pytest.param("file", Aspect.CONTENT, _there_and_back, True, id="content and back"),
    pytest.param("file", Aspect.MAGIC, _append, True, id="magic"),
    pytest.param("file", Aspect.TRUST, _append, True, id="trust"),
    pytest.param("file", Aspect.SIZE, _append, True, id="size"),
    pytest.param("file", Aspect.MTIME, os.utime, True, id="time"),
    pytest.param("file", Aspect.STAT, lambda path: path.chmod(0o700), True, id="mode"),
    pytest.param("file", Aspect.STAT, Path.unlink, True, id="vanished"),
    pytest.param("absent", Aspect.STAT, Path.touch, True, id="appeared"),
    pytest.param("link", Aspect.STAT, _relink, True, id="link"),
    pytest.param("dir", Aspect.STAT, lambda path: path.chmod(0o700), True, id="mode of directory"),
    pytest.param(
        "dir", Aspect.STAT, lambda path: (path / "n").touch(), False, id="entry, not listed"
    ),
    pytest.param("dir", Aspect.LISTING, lambda path: (path / "n").touch(), True, id="entry"),
    pytest.param(
        "dir", Aspect.LISTING, lambda path: (path / "one").unlink(), True, id="entry that goes"
    ),
    pytest.param(
        "dir", Aspect.LISTING, lambda path: (path / "one").write_text("2"), False, id="in an entry"
    ),
]


@pytest.mark.parametrize("by_itself", [False, True], ids=["listed by the root", "by a run"])
@pytest.mark.parametrize(("name", "aspect", "edit", "moves"), MEANWHILE)
def test_path_that_changes_while_a_step_runs_has_a_state_that_nothing_has(
    base: Path,
    name: str,
    aspect: Aspect,
    edit: Callable[[Path], None],
    *,
    moves: bool,
    by_itself: bool,
) -> None:
    path, root = f"/{name}".encode(), Root(WatchedFileSystem(os.fsencode(base)))
    time.sleep(0.02)  # The directory is to be older than one tick, as it is for a run.
    root.watch()
    root.status(path, aspect)
    if aspect is Aspect.LISTING and not by_itself:
        root.listing(path)

    edit(base / name)

    taken = footprint.take(root)
    assert taken.moved_paths() == ((path,) if moves else ())
    assert (
        taken.again(Root(WatchedFileSystem(os.fsencode(base)))).signature() != taken.signature()
    ) == moves
    if moves:
        explained = footprint.explain(
            taken, taken.again(Root(WatchedFileSystem(os.fsencode(base))))
        )
        assert explained == [f"/{name}: changed while the step ran"]


def test_file_that_was_written_just_now_is_seen_at_rest(base: Path) -> None:
    root = Root(WatchedFileSystem(os.fsencode(base)))
    root.watch()
    for number in range(50):
        path = base / f"fresh{number}"
        path.write_text("1")
        root.status(f"/{path.name}".encode(), Aspect.CONTENT)
        path.write_text("2")

    assert len(footprint.take(root).moved_paths()) == 50


def test_content_of_a_fresh_file_is_read_by_each_step(base: Path) -> None:
    for number in range(50):
        text = str(number % 10)
        (base / "file").write_text(text)
        root = Root(WatchedFileSystem(os.fsencode(base)))
        root.look(b"/file", Aspect.CONTENT)

        found = footprint.take(root).states[b"/file", Aspect.CONTENT]

        assert found.split()[-1] == str(Digest.of(text.encode()))


@pytest.mark.parametrize("edits", [False, True])
def test_database_that_changes_while_a_step_runs_makes_its_answers_old(
    base: Path, *, edits: bool
) -> None:
    (base / "etc").mkdir()
    shutil.copy("/etc/ld.so.cache", base / "etc")
    install(base, "one", {"/one": "1"})
    root = Root(WatchedFileSystem(os.fsencode(base)))
    root.watch()
    loader_cache(root)
    root.look(b"libx.so", Aspect.SONAME)
    dpkg.owner(root, b"/one")

    if edits:
        os.utime(base / "etc/ld.so.cache")
        install(base, "two", {"/two": "2"})

    answers = {b"/one", b"libx.so"}
    assert answers & {*footprint.take(root).moved_paths()} == (answers if edits else set())


def test_state_that_a_step_knows_is_not_asked_for(base: Path) -> None:
    root = Root(WatchedFileSystem(os.fsencode(base)))
    root.know(NOT_AN_ENGINE + b" x:1", Aspect.IMAGE, "sha256:0")

    taken = footprint.take(root)

    assert taken.states == {(NOT_AN_ENGINE + b" x:1", Aspect.IMAGE): "sha256:0"}
    assert taken.again(root).states != taken.states


@given(st.binary(max_size=60), st.integers(0, 400), st.integers(0, 60))
def test_damaged_footprint_raises_nothing(junk: bytes, start: int, length: int) -> None:
    root = Root()
    for aspect in (Aspect.CONTENT, Aspect.LISTING, Aspect.SONAME, Aspect.VIEW):
        root.look(b"/etc/passwd", aspect)
    root.look(NOT_AN_ENGINE + b" x:1", Aspect.IMAGE)
    text = footprint.take(root).text()

    found = footprint.read(text[:start] + junk + text[start + length :])

    assert found is None or found.again(Root()).signature()
