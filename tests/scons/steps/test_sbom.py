from __future__ import annotations

import os
from pathlib import Path

from lab import NO_ENGINE
from scratch_image.files.list_options import ListOptions
from scratch_image.fs.root import Aspect, Root
from scratch_image.image.reference import Reference
from scratch_image.image.settings import Settings
from scratch_image.scons.steps.file_list import ListSource, ListStep
from scratch_image.scons.steps.image import ImageStep
from scratch_image.scons.steps.layer_tar import LayerStep
from scratch_image.scons.steps.sbom import SbomStep
from step_files import path_in


def test_bill_of_an_image(tmp_path: Path) -> None:
    (tmp_path / "x.extra").write_text("/etc/debian_version\nown -> /own\n")
    (tmp_path / "own").write_text("own")
    top, root = os.fsencode(tmp_path), Root()
    listed, tar, image = (path_in(tmp_path, f"x.{name}") for name in ("files", "tar", "oci.tar"))
    list_step = ListStep("x", (ListSource("extra", "x.extra"),), top, ListOptions(packages=False))
    list_step.run(Root(), [listed], [path_in(tmp_path, "x.extra")])
    LayerStep("x", "none", top).run(Root(), [tar], [listed])
    made = ImageStep("x", 1, Settings(), (Reference.parse("x"),), NO_ENGINE)
    made.run(Root(), [image], [tar])

    line = SbomStep("x", ".spdx.json", top).run(
        root, [path_in(tmp_path, "x.spdx.json")], [listed, image]
    )

    assert line == "SPDX, 2 files of 1 packages"
    assert '"./own"' in (tmp_path / "x.spdx.json").read_text()
    assert {(b"/etc/debian_version", aspect) for aspect in (Aspect.CONTENT, Aspect.OWNER)} <= (
        root.looked
    )
    assert (path_in(tmp_path, "own"), Aspect.CONTENT) in root.looked
