from __future__ import annotations

import threading

import pytest
from scratch_image.cache import deadline


def test_result_and_errors_of_work_are_passed_on() -> None:
    assert deadline.finish_within(60, [lambda: 1, lambda: 2]) == [1, 2]
    with pytest.raises(ZeroDivisionError):
        deadline.finish_within(60, [lambda: 1, lambda: 1 / 0])


def test_works_go_on_at_once() -> None:
    meeting = threading.Barrier(3)

    assert sorted(deadline.finish_within(60, [meeting.wait] * 3)) == [0, 1, 2]


def test_work_is_left_alone_at_its_limit() -> None:
    go_on = threading.Event()
    with pytest.raises(TimeoutError):
        deadline.finish_within(0.05, [go_on.wait])
    go_on.set()


def test_silence_stops_a_call_and_progress_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "SILENCE", 0.05)
    stopped = threading.Event()
    with deadline.watch(stopped.set):
        assert stopped.wait(60)

    monkeypatch.setattr(deadline, "SILENCE", 60)
    with deadline.watch(stopped.clear) as progress:
        for _ in range(3):
            progress()
    assert stopped.is_set()


def test_large_blobs_get_more_time() -> None:
    assert deadline.message_seconds(0) == deadline.SILENCE
    assert deadline.message_seconds(2 << 20) == deadline.SILENCE + 2
    assert deadline.blob_seconds(100 << 20) == 110


def test_work_is_done_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", start)

    assert deadline.finish_within(1.0, [lambda: 1, lambda: 2]) == [1, 2]
    with deadline.watch(lambda: None) as progress:
        progress()
