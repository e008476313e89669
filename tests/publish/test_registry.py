"""Repositories of a real registry, behind a gate."""

from __future__ import annotations

from pathlib import Path

import pytest
from registries import Fault, Gate, pushed
from scratch_image.fs.digest import Digest
from scratch_image.image.reference import Reference
from scratch_image.publish import registry
from scratch_image.publish.registry import Repository, Tag


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


def test_tag_that_is_not_there_is_none(before: Gate) -> None:
    assert registry.digest_of(Tag.parse(f"http://{before.host}/none:1")) is None
    assert before.log == [("HEAD", "/v2/none/manifests/1", 404, 0)]


def test_registry_that_tells_no_digest_is_asked_for_the_manifest(
    before: Gate, tmp_path: Path
) -> None:
    digest = pushed(before, tmp_path, "silent")
    before.faults += [
        Fault(method, "/manifests/", headers={"Docker-Content-Digest": ""}, forward=True)
        for method in ("HEAD", "GET")
    ]

    assert registry.digest_of(Tag.parse(f"http://{before.host}/silent:1")) == digest
    assert before.count("GET", "/manifests/1") == 1


def test_blob_that_lies_elsewhere_is_there(before: Gate) -> None:
    before.faults.append(Fault("HEAD", "/blobs/", 307, {"Location": "https://x.example/"}))

    assert Repository(f"http://{before.host}", "x").has_blob(Digest.of(b""))
