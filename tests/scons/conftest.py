from __future__ import annotations

from pathlib import Path

import pytest
from lab import Lab, Scons
from project import Project


@pytest.fixture
def project(tmp_path: Path, scons: Scons) -> Project:
    return Project(tmp_path, scons)


@pytest.fixture
def lab(tmp_path: Path, scons: Scons) -> Lab:
    return Lab(tmp_path, scons).make()
