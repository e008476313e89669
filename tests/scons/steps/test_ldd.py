from __future__ import annotations

from pathlib import Path

from scratch_image.fs.root import Root
from scratch_image.scons.steps.ldd import LddStep
from step_files import path_in


def test_ldd_of_staged_files_takes_elf_files_only(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("data")
    root = Root(staged={b"/opt/cat": b"/bin/cat", b"/opt/data": path_in(tmp_path, "data")})

    line = LddStep("x", (b"/opt/cat",), (b"/opt/data",)).run(root, [path_in(tmp_path, "x.ldd")], [])

    assert line == "1 libraries of 1 files"
    assert (
        (tmp_path / "x.ldd")
        .read_text()
        .startswith("/opt/cat:\n\tmachine 62 (x86_64)\n\tlibc.so.6 => ")
    )
