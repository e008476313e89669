"""Rows of tables about rebuilds: an edit, and exactly the steps that it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

import pytest

OLDEST_AND_NEWEST = pytest.mark.parametrize(
    ("scons", "jobs"),
    [("oldest", 1), ("newest", 8)],
    indirect=True,
    ids=["oldest, j1", "newest, j8"],
)
"""Runs a test with both releases of SCons, one job after the other and eight at once."""


class Built(Protocol):
    """A project that has been built."""

    def build(self) -> list[str]:
        """Build it; return the sorted steps."""


_Project = TypeVar("_Project", bound=Built)


def check_row(
    project: _Project, edit: Callable[[_Project], object], expected: Iterable[str]
) -> None:
    """Check that `edit` runs exactly the `expected` steps, and that the next build runs none."""
    edit(project)

    steps, more = project.build(), project.build()

    assert steps == sorted(expected), steps
    assert more == [], more
