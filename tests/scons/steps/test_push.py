from __future__ import annotations

from pathlib import Path

import pytest
from archives import TAR, build
from scratch_image.errors import InputError
from scratch_image.fs.root import Aspect, Root
from scratch_image.image import archive
from scratch_image.publish.registry import Tag
from scratch_image.scons import footprint
from scratch_image.scons.steps.push import PushStep
from step_files import path_in


def test_push_names_digests_and_mounts_layers_of_its_neighbours(tmp_path: Path, hub: str) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        build(tmp_path / name / "x.oci.tar", [TAR])
        tag = Tag.parse(f"http://{hub}/steps/{name}:1")
        root = Root()

        line = PushStep("x", (tag,)).run(
            root, [path_in(tmp_path, f"{name}/x.pushed")], [path_in(tmp_path, f"{name}/x.oci.tar")]
        )

        digest = archive.read(path_in(tmp_path, f"{name}/x.oci.tar")).manifest
        assert line.startswith(f"{hub}/steps/{name}:1 {digest.short}, sent 0.0 MB")
        assert (tmp_path / name / "x.pushed").read_text() == f"{hub}/steps/{name}:1@{digest}\n"
        assert root.looked == {(str(tag).encode(), Aspect.TAG)}
        assert footprint.take(root).states == {(str(tag).encode(), Aspect.TAG): str(digest)}


def test_image_without_a_registry_is_not_pushed(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        PushStep("x", ()).run(Root(), [path_in(tmp_path, "x.pushed")], [])

    assert str(raised.value) == (
        "cannot push x: none of its tags names a registry; write HOST/NAME:TAG"
    )
