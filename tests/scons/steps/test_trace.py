from __future__ import annotations

import os
from pathlib import Path

import pytest
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem
from scratch_image.fs.staging import Chosen
from scratch_image.sandbox.run import Run
from scratch_image.scons.steps.trace import TracedRun, TraceStep, find_obstacle
from step_files import path_in


def test_trace_names_a_program_that_is_only_a_name(tmp_path: Path) -> None:
    targets = [os.fsencode(tmp_path / name) for name in ("x.strace", "x.trace", "x.stdout")]
    lines = [
        TraceStep("x", TracedRun(b"/bin/echo", Run("default", words)), b"strace", "auto").run(
            Root(), targets, []
        )
        for words in ((b"/usr/bin/echo", b"hi"), (b"sh", b"hi"))
    ]

    assert "\n" not in lines[0]
    assert lines[1].endswith("\ntrace: sh is only what /bin/echo was called")


def test_trace_writes_text_and_record(tmp_path: Path) -> None:
    root = Root()
    step = TraceStep("x", TracedRun(b"/bin/cat", Run("default", (b"cat",))), b"strace", "auto")
    (tmp_path / "input").write_text("input")
    targets = [path_in(tmp_path, name) for name in ("x.strace", "x.trace", "x.stdout")]

    line = step.run(root, targets, [path_in(tmp_path, "input")])

    assert " files, " in line
    assert b"execve(" in (tmp_path / "x.strace").read_bytes()
    assert (tmp_path / "x.stdout").read_text() == "input"
    assert b"/libc.so.6\n" in (tmp_path / "x.trace").read_bytes()
    assert any(aspect is Aspect.CONTENT for _, aspect in root.looked)


@pytest.mark.parametrize(
    ("view", "chosen", "noted"),
    [
        ("plain", Chosen(0o600), True),
        ("plain", Chosen(), False),
        ("private", Chosen(0o600), False),
    ],
)
def test_plain_run_does_not_show_chosen_modes(
    tmp_path: Path, view: str, chosen: Chosen, noted: bool
) -> None:
    if view == "private" and find_obstacle():
        pytest.skip("no private roots on this machine")
    (tmp_path / "key").write_text("a key")
    key = path_in(tmp_path, "key")
    root = Root(WatchedFileSystem(b"/", {b"/etc/app/key": key}, chosen={b"/etc/app/key": chosen}))
    step = TraceStep("x", TracedRun(b"/bin/true", Run("default", (b"true",))), b"strace", view)

    lines = step.run(root, [path_in(tmp_path, f"x{number}") for number in range(3)], [])

    note = "trace: this plain run saw modes and owners as they are on the machine"
    assert (note in lines.splitlines()) is noted
