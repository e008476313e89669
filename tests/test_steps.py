from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from scratch_image import archive, steps
from scratch_image.errors import ElfError, InputError, ListError
from scratch_image.root import Aspect, Root
from scratch_image.run import Run
from scratch_image.settings import Reference, Settings
from scratch_image.steps import (
    ImageStep,
    LayerStep,
    LddStep,
    ListSource,
    ListStep,
    LoadStep,
    TraceStep,
)

NO_ENGINE = "unix:///nonexistent/docker.sock"


def _path(directory: Path, name: str) -> bytes:
    return os.fsencode(directory / name)


def test_block_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = _path(tmp_path, "target")
    steps.write(path, [b"old"])

    with pytest.raises(ZeroDivisionError), steps.replacing(path) as sink:
        sink.write(b"half")
        raise ZeroDivisionError

    assert os.listdir(tmp_path) == ["target"]
    assert (tmp_path / "target").read_bytes() == b"old"


def test_directory_that_is_not_there_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        steps.write(_path(tmp_path, "none/target"), [b"x"])

    assert os.listdir(tmp_path) == []


def test_trace_writes_text_and_record(tmp_path: Path) -> None:
    root = Root()
    step = TraceStep("x", b"/bin/cat", Run("default", (b"cat",)), b"strace")
    (tmp_path / "input").write_text("input")
    targets = [_path(tmp_path, "x.strace"), _path(tmp_path, "x.trace")]

    told = step.run(root, targets, [_path(tmp_path, "input")])

    assert " files, " in told
    assert b"execve(" in (tmp_path / "x.strace").read_bytes()
    assert b"/libc.so.6\n" in (tmp_path / "x.trace").read_bytes()
    assert any(aspect is Aspect.CONTENT for _, aspect in root.looked)


def test_ldd_of_staged_files_takes_elf_files_only(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("data")
    root = Root(staged={b"/opt/cat": b"/bin/cat", b"/opt/data": _path(tmp_path, "data")})

    told = LddStep("x", (b"/opt/cat",), (b"/opt/data",)).run(root, [_path(tmp_path, "x.ldd")], [])

    assert told == "1 libraries of 1 files"
    assert (tmp_path / "x.ldd").read_text().startswith("/opt/cat:\n\tlibc.so.6 => ")


def _elf_of(machine: int) -> bytes:
    """Return the smallest static ELF program that says it is for `machine`."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    return head + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 0, 64, 0, 0)


def test_program_for_another_machine(tmp_path: Path) -> None:
    (tmp_path / "foreign").write_bytes(_elf_of(183))
    step = LddStep("x", (_path(tmp_path, "foreign"),), ())

    with pytest.raises(ElfError) as error:
        step.run(Root(), [_path(tmp_path, "x.ldd")], [])

    assert str(error.value) == (
        f"cannot run {tmp_path}/foreign: it is a program for aarch64 and this machine is x86_64; "
        "build it for this machine"
    )


def test_list_joins_all_forms(tmp_path: Path) -> None:
    (tmp_path / "a.strace").write_text('open("/etc/debian_version", O_RDONLY) = 3\n')
    (tmp_path / "a.ldd").write_text("\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x1)\n")
    (tmp_path / "a.extra").write_text("/etc/passwd\n")
    (tmp_path / "staged").write_text("x")
    forms = (ListSource("strace", "hand"), ListSource("ldd", "a"), ListSource("extra", "a.extra"))
    root = Root(staged={b"/srv/staged": _path(tmp_path, "staged")})

    told = ListStep("x", forms, (b"/srv/staged",)).run(
        root,
        [_path(tmp_path, "x.files")],
        [_path(tmp_path, name) for name in ("a.strace", "a.ldd", "a.extra")],
    )

    lines = (tmp_path / "x.files").read_text().splitlines()
    assert told == f"{len(lines) - 1} paths"
    assert "file 0644 0:0 /etc/debian_version run:hand" in lines
    assert "file 0644 0:0 /etc/passwd extra:a.extra" in lines
    assert "file 0644 0:0 /srv/staged staged" in lines
    assert any(
        line.startswith("file 0755 0:0 /usr/lib/x86_64-linux-gnu/libc.so.6 ") for line in lines
    )


def _layer(directory: Path) -> bytes:
    (directory / "x.files").write_text(
        "# scratch_image file list 1\ndir 0755 0:0 /etc parent\nfile 0644 0:0 /etc/passwd run:1\n"
    )
    target = _path(directory, "x.tar")
    LayerStep("x", "none").run(Root(epoch=7), [target], [_path(directory, "x.files")])
    return target


def test_image_archive_keeps_its_promises_and_says_how_to_load_it(tmp_path: Path) -> None:
    layer = _layer(tmp_path)
    step = ImageStep("x", Settings(created=7), (Reference.parse("x"),), NO_ENGINE)

    told = step.run(Root(), [_path(tmp_path, "x.oci.tar")], [layer])

    assert archive.validate(_path(tmp_path, "x.oci.tar")) == []
    shown = os.path.relpath(tmp_path / "x.oci.tar")
    assert told.splitlines()[1] == f"no engine answers at {NO_ENGINE}: docker load -i {shown}"


def test_list_that_is_no_list_packs_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.files").write_text("/etc/passwd\n")

    with pytest.raises(InputError):
        LayerStep("x", "none").run(Root(), [_path(tmp_path, "x.tar")], [_path(tmp_path, "x.files")])

    assert os.listdir(tmp_path) == ["x.files"]


def test_file_that_is_gone_packs_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.files").write_text("# scratch_image file list 1\nfile 0644 0:0 /gone run:1\n")

    with pytest.raises(ListError):
        LayerStep("x", "none").run(Root(), [_path(tmp_path, "x.tar")], [_path(tmp_path, "x.files")])

    assert os.listdir(tmp_path) == ["x.files"]


def test_load_writes_the_id_and_looks_at_each_tag(tmp_path: Path, engine: str) -> None:
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    references = (Reference.parse("steps:1"), Reference.parse("steps:2"))
    layer = _layer(tmp_path)
    image = _path(tmp_path, "x.oci.tar")
    ImageStep("x", Settings(), references, engine).run(Root(), [image], [layer])
    root = Root()

    told = LoadStep("x", references, engine).run(root, [_path(tmp_path, "x.iid")], [image])

    image_id = (tmp_path / "x.iid").read_text().strip()
    assert told == f"steps:1, steps:2 {image_id}"
    assert root.looked == {
        (f"{engine} steps:1".encode(), Aspect.IMAGE),
        (f"{engine} steps:2".encode(), Aspect.IMAGE),
    }
