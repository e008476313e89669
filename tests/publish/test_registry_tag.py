from __future__ import annotations

import pytest
from scratch_image.image.reference import Reference
from scratch_image.publish.registry_tag import Tag


@pytest.mark.parametrize(
    ("reference", "insecure", "text"),
    [
        ("ghcr.io/me/x:1", ["localhost"], "https://ghcr.io/me/x:1"),
        ("docker.io/me/x", [], "https://docker.io/me/x:latest"),
        ("localhost:5000/x:1", ["localhost"], "http://localhost:5000/x:1"),
        ("localhost:5000/x:1", ["localhost:5000"], "http://localhost:5000/x:1"),
        ("localhost:5000/x:1", ["localhost:50"], "https://localhost:5000/x:1"),
        ("[::1]:5000/x:1", ["[::1]"], "http://[::1]:5000/x:1"),
        ("localhost:5000/x:1", [], "https://localhost:5000/x:1"),
    ],
)
def test_tag_tells_where_and_how(reference: str, insecure: list[str], text: str) -> None:
    tag = Tag.of(Reference.parse(reference), insecure)

    assert str(tag) == text
    assert Tag.parse(text) == tag
    assert tag.shown == text.partition("://")[2]
