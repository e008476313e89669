from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lab import PACKAGE
from scratch_image.fs import target


def test_block_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path / "target")
    target.write(path, [b"old"])

    with pytest.raises(ZeroDivisionError), target.replacing(path) as sink:
        sink.write(b"half")
        raise ZeroDivisionError

    assert os.listdir(tmp_path) == ["target"]
    assert (tmp_path / "target").read_bytes() == b"old"


def test_directory_that_is_not_there_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        target.write(os.fsencode(tmp_path / "none/target"), [b"x"])

    assert os.listdir(tmp_path) == []


def test_temporary_file_is_made_anew(tmp_path: Path) -> None:
    path, other = os.fsencode(tmp_path / "target"), tmp_path / "other"
    other.write_text("other")
    for plant in (os.symlink, os.link):
        plant(other, target.temporary(path))

        with pytest.raises(FileExistsError):
            target.write(path, [b"new"])

    assert other.read_text() == "other"
    assert sorted(os.listdir(tmp_path)) == ["other"]


def test_leftovers_are_those_of_the_named_files(tmp_path: Path) -> None:
    names = [".a.tar.0123abcd.new", "..a.tar.footprint.0123abcd.new", ".b.tar.0123abcd.new"]
    for name in [*names, ".a.tar.new", "a.tar", ".a.tar.0123abcd.new.x"]:
        (tmp_path / name).touch()
    made = [os.fsencode(tmp_path / name) for name in ("a.tar", ".a.tar.footprint")]

    found = target.leftovers(made)

    assert sorted(map(os.path.basename, found)) == sorted(map(os.fsencode, names[:2]))
    assert target.leftovers([os.fsencode(tmp_path / "none/a.tar")]) == []


LOCKS = """
import sys, time
from scratch_image.fs import target
with target.lock(sys.argv[1].encode(), lambda attempts: None):
    print("held", flush=True)
    time.sleep(60)
"""


def test_lock_is_held_by_one_process_and_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.symlink_to("elsewhere")
    command = [sys.executable, "-c", LOCKS, str(path)]
    package = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    with subprocess.Popen(command, env=package, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        attempts = []

        def wait(number: int) -> None:
            attempts.append(number)
            if number == 2:
                other.kill()

        with target.lock(os.fsencode(path), wait):
            assert attempts[:2] == [1, 2]

    assert os.listdir(tmp_path) == []


def test_who_waits_for_a_lock_may_give_up(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path / "lock")

    def give_up(attempts: int) -> None:
        raise ZeroDivisionError

    with (
        target.lock(path, give_up),
        pytest.raises(ZeroDivisionError),
        target.lock(path, give_up),
    ):
        pass

    assert os.listdir(tmp_path) == []


def test_file_system_without_locks_is_used_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)

    with target.lock(os.fsencode(tmp_path / "lock"), lambda attempts: None):
        assert os.listdir(tmp_path) == ["lock"]
