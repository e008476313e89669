from __future__ import annotations

import os
from pathlib import Path

from scratch_image.files.request import Request
from scratch_image.files.staged_files import from_staged
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem


def _tree(place: Path) -> Path:
    (place / "tree/lib/empty").mkdir(parents=True)
    (place / "tree/lib/file").write_text("")
    (place / "tree/lib/link").symlink_to("file")
    return place / "tree"


def test_all_below_a_directory_is_requested(tmp_path: Path) -> None:
    tree, base = _tree(tmp_path), tmp_path / "base"
    base.mkdir()
    root = Root(WatchedFileSystem(os.fsencode(base), {b"/opt/x": os.fsencode(tree)}))

    found = list(from_staged(root, [b"/opt/x"]))

    paths = [b"", b"/lib", b"/lib/empty", b"/lib/file", b"/lib/link"]
    assert found == [Request(b"/opt/x" + path, "staged") for path in paths]
    assert {(b"/opt/x", Aspect.LISTING), (b"/opt/x/lib", Aspect.LISTING)} <= root.looked


def test_nothing_of_the_base_comes_with_a_directory_that_joins_it(tmp_path: Path) -> None:
    tree, base = _tree(tmp_path), tmp_path / "base"
    (base / "usr/lib").mkdir(parents=True)
    (base / "usr/lib/theirs").write_text("")
    (base / "usr/theirs").write_text("")
    root = Root(WatchedFileSystem(os.fsencode(base), {b"/usr": os.fsencode(tree)}))

    found = [request.path for request in from_staged(root, [b"/usr"])]

    paths = [b"", b"/lib", b"/lib/empty", b"/lib/file", b"/lib/link"]
    assert found == [b"/usr" + path for path in paths]
    assert (os.fsencode(tree / "lib"), Aspect.LISTING) in root.looked
    assert (b"/usr/lib", Aspect.LISTING) not in root.looked
