from __future__ import annotations

from pathlib import Path

import pytest
from lab import NO_ENGINE
from scratch_image.fs.root import Aspect, Root
from scratch_image.image.reference import Reference
from scratch_image.image.settings import Settings
from scratch_image.scons.steps.image import ImageStep
from scratch_image.scons.steps.layer_tar import LayerStep
from scratch_image.scons.steps.report import ReportStep
from step_files import list_of_two_sources, path_in


@pytest.mark.parametrize("has_archive", [True, False])
def test_report_shows_list_layer_image_runs_and_lint(tmp_path: Path, has_archive: bool) -> None:
    step, sources = list_of_two_sources(tmp_path)
    made = [path_in(tmp_path, name) for name in ("x.files", "x.tar", "x.oci.tar")]
    step.run(Root(), made[:1], sources)
    LayerStep("x", "none", step.top).run(Root(), made[1:2], made[:1])
    settings = Settings(created=7, labels={"a": "b"})
    ImageStep("x", 1, settings, (Reference.parse("hello"),), NO_ENGINE).run(
        Root(), made[2:], made[1:2]
    )
    page, root = path_in(tmp_path, "x.report.html"), Root()
    report = ReportStep("x", step, (("one", "hello"),), has_archive)
    given = [*(made if has_archive else made[:2]), *sources]

    lines = [report.run(root, [page], given)]
    first = (tmp_path / "x.report.html").read_text()
    lines += [report.run(Root(), [page], given)]

    count = (tmp_path / "x.files").read_text().count("\n") - 1
    assert lines == [f"{count} paths, 1 findings"] * 2
    assert '"/srv/debian"' in first
    assert '"name":"one","command":"hello","absent":1' in first
    assert '"lint":["a file of /usr/share that no run opened: a run listed it' in first
    assert '"changes":null' in first
    assert ('"Tags":["hello:latest"]' in first) is has_archive
    assert ('"image":null' in first) is not has_archive
    assert (tmp_path / "x.report.html").read_text() == first
    assert (b"/usr/share", Aspect.LISTING) in root.looked
