from __future__ import annotations

from pathlib import Path

from scratch_image.fs.root import Aspect, Root
from scratch_image.scons.steps.layer_tar import LayerStep
from scratch_image.scons.steps.report import ReportStep
from step_files import list_of_two_sources, path_in


def test_report_shows_list_layer_runs_and_lint(tmp_path: Path) -> None:
    step, sources = list_of_two_sources(tmp_path)
    made = [path_in(tmp_path, name) for name in ("x.files", "x.tar")]
    step.run(Root(), made[:1], sources)
    LayerStep("x", "none", step.top).run(Root(), made[1:], made[:1])
    page, root = path_in(tmp_path, "x.report.html"), Root()

    lines = [ReportStep("x", step, (("one", "hello"),)).run(root, [page], [*made, *sources])]
    first = (tmp_path / "x.report.html").read_text()
    lines += [ReportStep("x", step, (("one", "hello"),)).run(Root(), [page], [*made, *sources])]

    count = first.count('"reasons"')
    assert lines == [f"{count} paths, 1 findings"] * 2
    assert '"path":"/srv/debian","kind":"file"' in first
    assert '"name":"one","command":"hello","absent":1' in first
    assert '"lint":["a run listed /usr/share, 0 of whose' in first
    assert '"changes":null' in first
    assert (tmp_path / "x.report.html").read_text() == first
    assert (b"/usr/share", Aspect.LISTING) in root.looked
