from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from scratch_image.fs.file_system import FileSystem
from scratch_image.fs.sights import WatchedFileSystem, is_fresh

DIR = b"/dir"


def _write(path: Path) -> None:
    (path / "file").write_text("other")


def _write_and_take_back(path: Path) -> None:
    (path / "file").write_text("other")
    (path / "file").write_text("text")


def _add(path: Path) -> None:
    (path / "dir/new").touch()


def _restrict(path: Path) -> None:
    (path / "dir").chmod(0o700)


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        pytest.param(lambda path: None, [], id="nothing"),
        pytest.param(_write, [b"/file"], id="content"),
        pytest.param(_write_and_take_back, [b"/file"], id="content that is as before"),
        pytest.param(lambda path: (path / "file").unlink(), [b"/file"], id="gone"),
        pytest.param(_add, [b"/dir listed"], id="another name"),
        pytest.param(_restrict, [b"/dir", b"/dir listed"], id="another mode"),
    ],
)
def test_a_change_since_the_first_sight_is_seen(
    tmp_path: Path, change: Callable[[Path], None], changed: list[bytes]
) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "dir").mkdir()
    files = WatchedFileSystem(os.fsencode(tmp_path))
    files.watch()
    files.open(b"/file").close()
    files.status(DIR)
    files.listing(DIR)

    change(tmp_path)

    sights = files.end_watch()
    assert sights is not None
    found = [path for path in (b"/file", DIR) if sights.has_changed(files, path, listed=False)]
    found += [DIR + b" listed"] if sights.has_changed(files, DIR, listed=True) else []
    assert found == changed


def test_what_was_never_seen_has_not_changed(tmp_path: Path) -> None:
    files = WatchedFileSystem(os.fsencode(tmp_path))
    files.watch()

    sights = files.end_watch()

    assert sights is not None
    assert not sights.has_changed(files, b"/file", listed=True)
    assert files.end_watch() is None


def test_first_sight_waits_until_the_next_change_shows(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    files = WatchedFileSystem(os.fsencode(tmp_path))
    files.watch()

    status = files.status(b"/file")

    assert status is not None
    assert not is_fresh(status)
    assert status == FileSystem(files.base).status(b"/file")
