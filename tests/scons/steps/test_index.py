from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from lab import NO_ENGINE
from scratch_image.errors import InputError
from scratch_image.fs.root import Root
from scratch_image.fs.target import write
from scratch_image.image.reference import Reference
from scratch_image.image.settings import Settings
from scratch_image.scons.steps.image import ImageStep
from scratch_image.scons.steps.index import IndexStep
from step_files import make_layer, path_in


def _image_for(directory: Path, machine: int) -> bytes:
    """Build an image whose program says that it is for `machine`."""
    text, target = path_in(directory, f"{machine}.ldd"), path_in(directory, f"{machine}.oci.tar")
    write(text, [b"/a:\n\tmachine %d (x)\n\tstatically linked\n" % machine])
    step = ImageStep("x", 1, Settings(), (Reference.parse("x"),), NO_ENGINE)
    step.run(Root(), [target], [make_layer(directory), text])
    return target


def test_index_of_images_of_two_platforms(tmp_path: Path) -> None:
    images = [_image_for(tmp_path, machine) for machine in (183, 62)]
    step = IndexStep("x", ("arm64", "amd64"), (Reference.parse("x"),))

    line = step.run(Root(), [path_in(tmp_path, "x.index.oci.tar")], images)

    assert re.fullmatch("sha256:[0-9a-f]{12}… for arm64, amd64", line)


def test_index_of_an_image_for_another_platform(tmp_path: Path) -> None:
    images = [_image_for(tmp_path, 62)]
    step = IndexStep("x", ("arm64",), (Reference.parse("x"),))

    with pytest.raises(InputError) as error:
        step.run(Root(), [path_in(tmp_path, "x.index.oci.tar")], images)

    assert str(error.value) == (
        f"cannot index {tmp_path}/62.oci.tar for arm64: its program is for amd64; "
        "give the platform's own program and base"
    )
    assert "x.index.oci.tar" not in os.listdir(tmp_path)
