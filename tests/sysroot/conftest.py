"""A place for a tree."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[bytes]:
    """Give the path of a tree beside which nothing half-made may be left."""
    (tmp_path / "out").mkdir()
    yield os.fsencode(tmp_path / "out/x.root")
    assert set(os.listdir(tmp_path / "out")) <= {"x.root", "x.root.owners", "x.root.image"}
