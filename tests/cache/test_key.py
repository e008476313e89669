from __future__ import annotations

import os

import pytest
from scratch_image.cache.key import result_entry, sets_entry, state_lines, strong_key, weak_key
from scratch_image.cache.path_set import Checkout, PathSet
from scratch_image.fs.root import Aspect

STATES = {(b"/usr/x", Aspect.STAT): "file 0644 0:0"}
ONE, OTHER = Checkout((b"/one",)), Checkout((b"/other",))


def strong(at: Checkout, *, is_bound: bool, is_personal: bool = False, weak: str = "w") -> str:
    path_set = PathSet.of([STATES], at, is_bound=is_bound, is_personal=is_personal)
    return strong_key(weak, path_set, at, state_lines([STATES], at, is_bound=is_bound))


def test_a_weak_key_has_all_its_words() -> None:
    assert weak_key(["a", ["b", 1]]) == weak_key(["a", ["b", 1]])
    assert (
        len({weak_key(each) for each in (["a", ["b", 1]], ["a", "b", 1], ["a", ["b", 2]], [])}) == 4
    )


def test_a_strong_key_is_the_same_in_every_checkout_unless_it_is_bound() -> None:
    assert strong(ONE, is_bound=False) == strong(OTHER, is_bound=False)
    assert strong(ONE, is_bound=True) != strong(OTHER, is_bound=True)
    assert strong(ONE, is_bound=True) != strong(ONE, is_bound=False)
    assert strong(ONE, is_bound=False) != strong(ONE, is_bound=False, weak="v")


def test_a_personal_key_is_that_of_one_user(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = strong(ONE, is_bound=False, is_personal=True)
    other = strong(ONE, is_bound=False)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)

    assert strong(ONE, is_bound=False, is_personal=True) != mine
    assert strong(ONE, is_bound=False) == other


def test_a_state_counts_for_its_own_step() -> None:
    one = state_lines([STATES, {}], ONE, is_bound=False)
    other = state_lines([{}, STATES], ONE, is_bound=False)

    assert one == ["0 stat /usr/x\0file 0644 0:0"]
    assert other == ["1 stat /usr/x\0file 0644 0:0"]


def test_the_two_kinds_of_entries_have_different_keys() -> None:
    assert sets_entry("0" * 64).digest != result_entry("0" * 64).digest
