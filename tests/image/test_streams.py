from __future__ import annotations

from scratch_image.image.streams import Tally


def test_a_tally_without_a_source_is_empty() -> None:
    assert Tally().read(1) == b""
