from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def jobs(request: pytest.FixtureRequest) -> int:
    """Give the number of jobs that SCons runs at once."""
    return int(request.param)
