from __future__ import annotations

import os
from pathlib import Path

import pytest
from scratch_image import target


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
