from __future__ import annotations

import threading
from functools import partial

import pytest
from scratch_image.cache import writer
from scratch_image.cache.writer import Writer


def _wait(event: threading.Event) -> None:
    assert event.wait(60)


def test_all_work_is_done() -> None:
    made = Writer()
    done: list[int] = []
    for number in range(100):
        made.add(1, partial(done.append, number))

    assert made.finish(60)
    assert sorted(done) == [*range(100)]
    assert made.finish(0)


def test_work_goes_on_beside_that_of_its_giver() -> None:
    made = Writer()
    go_on = threading.Event()
    made.add(1, lambda: _wait(go_on))

    assert not made.finish(0.05)
    go_on.set()
    assert made.finish(60)


def test_more_work_waits_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_ROOM", 10)
    made = Writer()
    go_on, added = threading.Event(), threading.Event()
    made.add(100, lambda: _wait(go_on))

    def add() -> None:
        made.add(1, added.set)

    giver = threading.Thread(target=add)
    giver.start()
    giver.join(0.05)
    assert giver.is_alive()
    go_on.set()
    giver.join(60)
    assert made.finish(60)
    assert added.is_set()
