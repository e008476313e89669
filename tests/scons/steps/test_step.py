from __future__ import annotations

import os
from pathlib import Path

import pytest
from lab import NO_ENGINE
from scratch_image import progress
from scratch_image.fs.root import Root, WatchedFileSystem
from scratch_image.image import layer_stack
from scratch_image.image.reference import Reference
from scratch_image.image.settings import Settings
from scratch_image.scons.steps.image import ImageStep
from scratch_image.scons.steps.index import IndexStep
from scratch_image.scons.steps.layer_stack import StackStep
from scratch_image.scons.steps.layer_tar import LayerStep
from scratch_image.scons.steps.step import Step, shorten
from step_files import make_layer, path_in


def _watched(step: Step, target: bytes, *sources: bytes) -> tuple[int, int]:
    """Return the bytes that the step did, and those that it expected."""
    with progress.watch() as watched:
        step.run(Root(WatchedFileSystem(epoch=7)), [target], sources)
    return watched.done, watched.total


def test_long_steps_report_their_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_stack, "_known", {})
    (tmp_path / "top").mkdir()
    make_layer(tmp_path)
    listed, top = path_in(tmp_path, "x.files"), os.fsencode(tmp_path)
    tar, zst, layers, again, image, index = (
        path_in(tmp_path / "top", f"{name}")
        for name in ("x.tar", "x.tar.zst", "x.layers", "y.layers", "x.oci.tar", "x.index.oci.tar")
    )
    tags = (Reference.parse("x"),)
    seen = [
        _watched(LayerStep("x", "none", top), tar, listed),
        _watched(LayerStep("x", "none", top), zst, listed),
        _watched(StackStep("x", ".tar.gz", "none", top), layers, listed),
        _watched(StackStep("x", ".tar.gz", "none", top), again, listed),
        _watched(ImageStep("x", 1, Settings(), tags, NO_ENGINE), image, tar),
        _watched(ImageStep("x", 1, Settings(), tags, NO_ENGINE), image, again),
        _watched(IndexStep("x", (), tags), index, image),
    ]

    assert [done for done, _ in seen] == [total for _, total in seen]
    assert all(done for done, _ in seen)


@pytest.mark.parametrize(
    ("names", "line"),
    [
        pytest.param(["ghcr.io/me/hello:1.2"], "ghcr.io/me/hello:1.2", id="one"),
        pytest.param(["a", "b", "c"], "a, b, c", id="all fit"),
        pytest.param([f"example/hello:{n}" for n in range(9)],
                     "example/hello:0, example/hello:1 and 7 more", id="some fit"),
        pytest.param(["x" * 90, "y"], f"{'x' * 90} and 1 more", id="the first is shown always"),
    ],
)  # fmt: skip
def test_line_has_as_many_names_as_fit(names: list[str], line: str) -> None:
    assert shorten(names) == line
