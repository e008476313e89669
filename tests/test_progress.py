from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from scratch_image import progress
from scratch_image.progress import Progress


@pytest.mark.parametrize(
    ("total", "done", "percent"),
    [
        pytest.param(0, 5, None, id="nobody knows"),
        pytest.param(200, 0, 0, id="not begun"),
        pytest.param(200, 199, 99, id="nearly all"),
        pytest.param(200, 200, 100, id="all"),
        pytest.param(200, 201, 100, id="more than was expected"),
    ],
)
def test_percent_is_of_what_was_expected(total: int, done: int, percent: int | None) -> None:
    made = Progress()
    made.expect(total)
    made.add(done)

    assert made.percent == percent


def test_what_is_done_is_seen_by_who_watches() -> None:
    with progress.watch() as outer:
        progress.current().expect(4)
        with progress.watch() as inner:
            progress.current().add(2)
        progress.current().add(1)
    progress.current().add(8)

    assert (outer.done, outer.total) == (1, 4)
    assert (inner.done, inner.percent) == (2, None)


def test_threads_are_counted_together() -> None:
    with progress.watch() as watched, ThreadPoolExecutor(8) as pool:
        taken_along = progress.current()
        for _ in range(1000):
            pool.submit(taken_along.add, 3)
            pool.submit(progress.current().add, 0)
    assert watched.done == 3000
