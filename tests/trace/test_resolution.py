"""Tests of resolution.py."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from programs import (
    kind_by_path,
    needs_root,
    settle_clock,
    traced,
    uses_below,
)
from scratch_image.elf.loader_cache import CACHE
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem
from scratch_image.sandbox.run import Run
from scratch_image.trace import tracer
from scratch_image.trace.log import Access, Log
from scratch_image.trace.record import Use, Used, read_record, write_record
from scratch_image.trace.resolution import Resolution, resolve


@pytest.mark.parametrize("private", [False, True])
def test_a_file_is_taken_for_a_directory(site: Path, private: bool) -> None:
    names = [
        "d/b.txt/../c.txt",
        "d/real/l1/../../e.txt",
        "d/b.txt/x",
        "d/c.txt/.",
        "d/sub/../e.txt",
    ]
    record = traced(b"/bin/cat", *names, private=private, status=1).record
    assert uses_below(record, site) == {
        "d/b.txt": "stat",
        "d/b.txt/x": "absent",
        "d/c.txt": "stat",
        "d/e.txt": "read",
        "d/real/a.txt": "stat",
        "d/real/l1": "link",
        "d/sub": "stat",
    }
    assert read_record(write_record(record)) == record


@pytest.mark.parametrize("private", [False, True])
def test_an_interpreter_that_is_not_there(site: Path, private: bool) -> None:
    (site / "script").write_text(f"#!{site}/none/x\n")
    (site / "script").chmod(0o755)

    record = traced(b"/bin/sh", "-c", "./script", private=private, status=127).record

    assert uses_below(record, site) == {"none": "absent", "script": "stat"}


def test_outputs(programs: Path, site: Path) -> None:
    (site / "o").mkdir()
    for name in ("changed", "unchanged", "removed"):
        (site / "o" / name).write_text("old")
    settle_clock()
    made = ["created", "dir", "dir/file", "fifo", "link", "renamed", "socket", "symlink", "tmpfile"]
    assert uses_below(traced(programs / "writes").record, site) == {
        **{f"o/{name}": "write" for name in [*made, "changed", "removed"]},
        "o": "stat",
        "o/unchanged": "read",
    }


def test_interpreters_of_scripts(site: Path) -> None:
    (site / "inner").write_text("#! /usr/bin/env -S sh\nexit 0\n")
    (site / "outer").write_text(f"#!{site}/bin/inner argument\n")
    for name in ("inner", "outer"):
        (site / name).chmod(0o755)
    (site / "bin").symlink_to(".")
    settle_clock()
    record = traced(site / "outer").record
    assert uses_below(record, site) == {"bin": "link", "inner": "exec", "outer": "exec"}
    executed = {use.path for use in record.uses if use.kind is Use.EXEC}
    assert {b"/usr/bin/env", b"/usr/bin/dash"} <= executed
    assert any(os.path.basename(path).startswith(b"ld-linux") for path in executed)
    assert kind_by_path(record)[b"/lib64"] is Use.LINK


def test_a_script_without_interpreter(site: Path) -> None:
    (site / "script").write_text("cat d/b.txt\n")
    (site / "script").chmod(0o755)
    settle_clock()
    record = traced(b"/bin/sh", "-c", "./script").record
    assert uses_below(record, site) == {"d/b.txt": "read", "script": "read"}


def test_a_foreign_program_is_run_by_a_registered_interpreter(site: Path) -> None:
    program = bytearray(Path("/bin/true").read_bytes())
    program[18:20] = (243).to_bytes(2, "little")
    (site / "riscv").write_bytes(program)
    path = os.fsencode(site / "riscv")
    assert Resolution(Log((Access(path, Use.EXEC),)), Root(), 1).registered == [path]


def test_inputs_of_the_trace_are_looks_of_the_root(programs: Path, site: Path) -> None:
    root = Root()
    traced(programs / "chdirs", root=root)
    start = os.fsencode(site)
    assert {
        (os.fsdecode(path[len(start) + 1 :]), aspect)
        for path, aspect in root.looked
        if path.startswith(start)
    } == {
        ("", Aspect.SIZE),
        ("d", Aspect.SIZE),
        ("d/b.txt", Aspect.CONTENT),
        ("d/c.txt", Aspect.SIZE),
        ("d/link", Aspect.STAT),
        ("d/real", Aspect.LISTING),
        ("d/real/a.txt", Aspect.CONTENT),
        ("d/real/l1", Aspect.STAT),
        ("d/real/l2", Aspect.STAT),
        ("d/real/nope", Aspect.STAT),
        ("d/sub/chain", Aspect.STAT),
    }


def test_outputs_and_the_kernels_trees_are_not_looked_at(programs: Path, site: Path) -> None:
    (site / "o").mkdir()
    (site / "o/changed").touch()
    (site / "o/removed").touch()
    settle_clock()
    root = Root()
    traced(programs / "writes", root=root)
    looked = {path for path, _ in root.looked}
    assert os.fsencode(site / "o/changed") not in looked
    assert not [path for path in looked if path.startswith((b"/proc", b"/dev", b"/sys"))]


def test_of_the_loaders_cache_only_its_answers_are_looked_at(programs: Path, site: Path) -> None:
    root = Root()
    record = traced(programs / "open", root=root).record
    assert kind_by_path(record)[CACHE] is Use.READ
    assert (CACHE, Aspect.STAT) in root.looked
    assert (CACHE, Aspect.CONTENT) not in root.looked
    assert (b"libc.so.6", Aspect.SONAME) in root.looked


def test_without_the_loaders_cache_no_answer_is_looked_at(programs: Path, site: Path) -> None:
    root = Root()
    traced(programs / "static", root=root)
    assert not [name for name, aspect in root.looked if aspect is Aspect.SONAME]


def test_earlier_looks_are_kept() -> None:
    root = Root()
    root.look(b"/kept", Aspect.HARD)
    resolve(Log(()), root, 1)
    assert root.looked == {(b"/kept", Aspect.HARD)}


def resolved_kinds(
    *accesses: Access, root: Root | None = None, started_ns: int = 1
) -> dict[bytes, Use]:
    return kind_by_path(resolve(Log(accesses), root or Root(), started_ns))


def test_the_strongest_use_counts(site: Path) -> None:
    path = os.fsencode(site / "d/b.txt")
    uses = [Use.STAT, Use.READ, Use.STAT]
    later = time.time_ns()
    assert resolved_kinds(*[Access(path, use) for use in uses], started_ns=later) == {
        path: Use.READ
    }


def test_a_candidate_that_does_not_agree_is_dropped(site: Path) -> None:
    path, other = os.fsencode(site / "d/b.txt"), os.fsencode(site / "b.txt")
    accesses = [
        Access(place, kind, sure=False)
        for place in (path, other)
        for kind in (Use.STAT, Use.ABSENT)
    ]
    assert resolved_kinds(*accesses) == {path: Use.STAT, other: Use.ABSENT}


def test_absent_path_that_exists_now(site: Path) -> None:
    path = os.fsencode(site / "d/b.txt")
    assert resolved_kinds(Access(path + b"/", Use.ABSENT)) == {path: Use.STAT}


def test_an_unknown_start_takes_all_writes_for_outputs(site: Path) -> None:
    path = os.fsencode(site / "d/b.txt")
    write = Access(path, Use.WRITE)
    assert resolved_kinds(write, started_ns=0) == {path: Use.WRITE}
    assert resolved_kinds(write, started_ns=time.time_ns()) == {path: Use.STAT}


def test_dots_lead_out_of_the_kernels_trees(site: Path) -> None:
    path = os.fsencode(site / "d/b.txt")
    assert resolved_kinds(Access(b"/proc/.." + path, Use.STAT)) == {path: Use.STAT}


def test_below_what_the_run_made_nothing_is_an_input(site: Path) -> None:
    made = os.fsencode(site / "d")
    accesses = [Access(made, Use.CREATE, follow=False), Access(made + b"/none", Use.ABSENT)]
    assert resolved_kinds(*accesses, started_ns=0) == {
        os.fsencode(site): Use.STAT,
        made: Use.WRITE,
    }


def test_a_path_that_is_too_long_ends_where_it_can_be_seen() -> None:
    assert resolved_kinds(Access(b"/usr/" + b"x" * 300 + b"/y", Use.STAT)) == {b"/usr": Use.STAT}


def test_an_interpreter_is_relative_to_the_root(site: Path) -> None:
    script = site / "script"
    script.write_text("#!bin/dash\n")
    settle_clock()
    found = resolved_kinds(Access(os.fsencode(script), Use.EXEC), started_ns=time.time_ns())
    assert found[b"/usr/bin/dash"] is Use.EXEC


def test_interpreters_that_name_each_other_end(site: Path) -> None:
    script = site / "script"
    script.write_text(f"#!{script}\n")
    path = os.fsencode(script)
    assert resolved_kinds(Access(path, Use.EXEC), started_ns=time.time_ns()) == {path: Use.EXEC}


def test_directories_of_the_build_are_looked_at_and_in_no_image(tmp_path: Path) -> None:
    here = os.fsencode(tmp_path)
    (tmp_path / "made").write_text("#!/bin/sh\nls ${0%/*}\n")
    (tmp_path / "made").chmod(0o755)
    settle_clock()
    root = Root(WatchedFileSystem(staged={b"/srv/tool": here + b"/made"}))

    found = tracer.trace(Run("demo", (b"tool",)), b"/srv/tool", root)

    assert found.stdout == b"made\n"
    assert not [use for use in found.record.uses if use.path.startswith(here)]
    assert (here, Aspect.LISTING) in root.looked


def test_directory_of_a_file_that_was_made_and_removed_is_needed(tmp_path: Path) -> None:
    script = f"echo x > {tmp_path}/gone; rm {tmp_path}/gone"
    found = tracer.trace(Run("demo", (b"sh", b"-c", script.encode())), b"/bin/sh", Root())
    uses = [use for use in found.record.uses if use.path.startswith(os.fsencode(tmp_path))]
    assert uses == [Used(Use.STAT, os.fsencode(tmp_path))]


@pytest.mark.dangerous
@needs_root
@pytest.mark.parametrize("move", ["ln", "mv"])
def test_file_that_a_private_run_read_by_another_name_is_an_input(move: str) -> None:
    script = f"{move} /etc/debian_version /etc/other && cat /etc/other"

    found = traced(b"/bin/sh", "-c", script, private=True, cwd=b"/")

    assert found.stdout == Path("/etc/debian_version").read_bytes()
    assert Used(Use.READ, b"/etc/debian_version") in found.record.uses
