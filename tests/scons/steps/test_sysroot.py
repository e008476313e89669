from __future__ import annotations

import os
from pathlib import Path

from scratch_image.fs.root import Aspect, Root
from scratch_image.scons.steps.sysroot import SysrootStep
from scratch_image.sysroot.origin import TarOrigin
from step_files import path_in
from tars import member, packed


def test_sysroot_is_a_tree_and_a_text_that_describes_it(tmp_path: Path) -> None:
    tree, root = path_in(tmp_path, "x.root"), Root()
    source = packed(tmp_path, member("lib64/ld-linux-x86-64.so.2"), member("etc/x"))
    step = SysrootStep("x", TarOrigin("rootfs.tar"), tree)

    line = step.run(root, [path_in(tmp_path, "x.sysroot")], [source])

    assert line == "5 paths"
    head, name, content, end = (tmp_path / "x.sysroot").read_text().split("\n")
    assert (head, name, end) == ("# scratch_image sysroot 1", "archive rootfs.tar", "")
    assert content.startswith("content sha256:")
    assert os.listdir(tree + b"/etc") == [b"x"]
    assert root.looked == {(tree, Aspect.STAT), (tree + b".owners", Aspect.CONTENT)}
    assert os.fsdecode(tree) not in repr(step)


def test_sysroot_of_a_directory_copies_nothing(tmp_path: Path) -> None:
    root = Root()
    step = SysrootStep("x", None, b"/", "the machine")

    line = step.run(root, [path_in(tmp_path, "x.sysroot")], [])

    assert line == "the machine"
    assert os.listdir(tmp_path) == ["x.sysroot"]
    assert (tmp_path / "x.sysroot").read_text().endswith("\ndirectory the machine\n")
    assert root.looked == {(b"/", Aspect.STAT)}
