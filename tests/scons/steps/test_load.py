from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from lab import NO_ENGINE
from scratch_image import progress
from scratch_image.fs.digest import Digest
from scratch_image.fs.root import Aspect, Root
from scratch_image.image import archive
from scratch_image.image.reference import Reference
from scratch_image.image.settings import Settings
from scratch_image.publish.engine import LoadedImage
from scratch_image.scons.steps.image import ImageStep
from scratch_image.scons.steps.load import LoadStep
from step_files import make_layer, path_in


def test_load_writes_the_id_and_looks_at_each_tag(tmp_path: Path, engine: str) -> None:
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    references = (Reference.parse("steps:1"), Reference.parse("steps:2"))
    layer = make_layer(tmp_path)
    image = path_in(tmp_path, "x.oci.tar")
    ImageStep("x", 1, Settings(), references, engine).run(Root(), [image], [layer])
    root = Root()

    targets = [path_in(tmp_path, "x.iid"), path_in(tmp_path, "x.loaded")]

    with progress.watch() as watched:
        line = LoadStep("x", references, engine).run(root, targets, [image])

    assert watched.percent == 100
    image_id = (tmp_path / "x.iid").read_text().strip()
    assert line == f"steps:1, steps:2 {Digest(image_id).short}"
    loaded = LoadedImage.read((tmp_path / "x.loaded").read_bytes())
    assert loaded == LoadedImage(image_id, archive.read(image).layers, archive.read(image).diff_ids)
    assert root.looked == {
        (f"{engine} steps:1".encode(), Aspect.IMAGE),
        (f"{engine} steps:2".encode(), Aspect.IMAGE),
    }


def test_load_omits_layers_of_its_neighbours(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    layer, omitted = make_layer(tmp_path), []
    chunks = archive.Archive.chunks

    def spy(image: archive.Archive, omit: Collection[Digest] = ()) -> Iterator[bytes]:
        omitted.append(len(omit))
        return chunks(image, omit)

    monkeypatch.setattr(archive.Archive, "chunks", spy)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        image = path_in(tmp_path, f"{name}/x.oci.tar")
        tags = (Reference.parse(f"neighbour-{name}"),)
        ImageStep("x", 1, Settings(labels={"name": name}), tags, engine).run(
            Root(), [image], [layer]
        )
        targets = [path_in(tmp_path, f"{name}/x.iid"), path_in(tmp_path, f"{name}/x.loaded")]

        LoadStep("x", tags, engine).run(Root(), targets, [image])

    assert omitted == [0, 1]
