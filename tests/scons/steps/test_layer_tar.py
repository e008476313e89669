from __future__ import annotations

import os
from pathlib import Path

import pytest
from scratch_image.errors import InputError, ListError
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem
from scratch_image.scons.steps.file_list import ListSource, ListStep
from scratch_image.scons.steps.layer_tar import LayerStep
from step_files import make_project, path_in


def _build_list(directory: Path) -> str:
    """Build the list and the layer of a project; return the list."""
    top, root = make_project(directory), Root(WatchedFileSystem(epoch=7))
    step = ListStep("x", (ListSource("extra", "x.extra"),), top)
    assert directory.name not in repr(step)
    step.run(root, [path_in(directory, "x.files")], [path_in(directory, "x.extra")])
    assert (path_in(directory, "more/m.extra"), Aspect.CONTENT) in root.looked
    layer = LayerStep("x", "none", top)
    assert directory.name not in repr(layer)
    root = Root(WatchedFileSystem(epoch=7))
    layer.run(root, [path_in(directory, "x.tar")], [path_in(directory, "x.files")])
    assert (path_in(directory, "conf/app.conf"), Aspect.CONTENT) in root.looked
    return (directory / "x.files").read_text()


def test_two_checkouts_give_the_same_list_and_layer(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"

    listed = _build_list(first)

    assert "file 0644 0:0 /etc/app.conf <- conf/app.conf extra:x.extra\n" in listed
    assert "file 0755 0:0 /opt/plugin.so <- plugin.so extra:more/m.extra\n" in listed
    assert "/libc.so.6 " in listed
    assert "/etc/passwd" not in listed
    umask = os.umask(0o077)
    try:
        assert _build_list(second) == listed
    finally:
        os.umask(umask)
    assert (first / "x.tar").read_bytes() == (second / "x.tar").read_bytes()


def test_list_that_is_no_list_packs_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.files").write_text("/etc/passwd\n")

    with pytest.raises(InputError):
        LayerStep("x", "none", b"/").run(
            Root(), [path_in(tmp_path, "x.tar")], [path_in(tmp_path, "x.files")]
        )

    assert os.listdir(tmp_path) == ["x.files"]


def test_file_that_is_gone_packs_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.files").write_text("# scratch_image file list 1\nfile 0644 0:0 /gone run:1\n")

    with pytest.raises(ListError):
        LayerStep("x", "none", b"/").run(
            Root(), [path_in(tmp_path, "x.tar")], [path_in(tmp_path, "x.files")]
        )

    assert os.listdir(tmp_path) == ["x.files"]
