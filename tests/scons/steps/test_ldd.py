from __future__ import annotations

import subprocess
from pathlib import Path

from scratch_image.fs.root import Root, WatchedFileSystem
from scratch_image.scons.steps.ldd import LddStep
from step_files import path_in


def test_ldd_of_staged_files_takes_elf_files_only(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("data")
    root = Root(
        WatchedFileSystem(
            staged={b"/opt/cat": b"/bin/cat", b"/opt/data": path_in(tmp_path, "data")}
        )
    )

    line = LddStep("x", (b"/opt/cat",), (b"/opt/data",)).run(root, [path_in(tmp_path, "x.ldd")], [])

    assert line == "1 libraries of 1 files"
    assert (
        (tmp_path / "x.ldd")
        .read_text()
        .startswith("/opt/cat:\n\tmachine 62 (x86_64)\n\tlibc.so.6 => ")
    )


def test_libraries_of_staged_files_are_searched_together(tmp_path: Path) -> None:
    """Only the extension module of a wheel names the directory of the wheel's libraries."""
    loose = ("-Wl,--no-as-needed", "-Wl,--allow-shlib-undefined")
    for name, *flags in (
        ("libinner.so",),
        ("libouter.so", f"-L{tmp_path}", "-linner"),
        (
            "module.so",
            f"-L{tmp_path}",
            "-louter",
            "-Wl,--disable-new-dtags",
            "-Wl,-rpath,$ORIGIN/l",
        ),
    ):
        subprocess.run(
            ["gcc", "-shared", "-nostdlib", "-x", "c", "/dev/null", "-x", "none", *loose,
             f"-Wl,-soname,{name}", "-o", tmp_path / name, *flags],
            check=True,
        )  # fmt: skip
    staged = {
        b"/opt/l/libinner.so": path_in(tmp_path, "libinner.so"),
        b"/opt/l/libouter.so": path_in(tmp_path, "libouter.so"),
        b"/opt/module.so": path_in(tmp_path, "module.so"),
    }

    LddStep("x", (), tuple(staged)).run(
        Root(WatchedFileSystem(staged=staged)), [path_in(tmp_path, "x.ldd")], []
    )

    assert (tmp_path / "x.ldd").read_text() == (
        "/opt/l/libinner.so:\n\tmachine 62 (x86_64)\n\tstatically linked\n"
        "/opt/l/libouter.so:\n\tmachine 62 (x86_64)\n"
        "\tlibinner.so => /opt/l/libinner.so (needed by /opt/l/libouter.so)\n"
        "/opt/module.so:\n\tmachine 62 (x86_64)\n"
        "\tlibouter.so => /opt/l/libouter.so (needed by /opt/module.so)\n"
        "\tlibinner.so => /opt/l/libinner.so (needed by /opt/l/libouter.so)\n"
    )
