from __future__ import annotations

import os
from pathlib import Path

import audit
from lab import NO_ENGINE
from scratch_image.fs.root import Root
from scratch_image.image.reference import Reference
from scratch_image.image.settings import Settings
from scratch_image.scons.steps.image import ImageStep
from step_files import make_layer, path_in


def test_image_archive_is_valid_and_says_how_to_load_it(tmp_path: Path) -> None:
    layer = make_layer(tmp_path)
    step = ImageStep("x", 1, Settings(created=7), (Reference.parse("x"),), NO_ENGINE)

    line = step.run(Root(), [path_in(tmp_path, "x.oci.tar")], [layer])

    assert audit.validate(path_in(tmp_path, "x.oci.tar")) == []
    shown = os.path.relpath(tmp_path / "x.oci.tar")
    assert line.splitlines()[1] == f"no engine answers at {NO_ENGINE}: docker load -i {shown}"
