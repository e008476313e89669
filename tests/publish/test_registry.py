"""Repositories of a real registry, behind a gate."""

from __future__ import annotations

from pathlib import Path

from registries import Fault, Gate, pushed
from scratch_image.fs.digest import Digest
from scratch_image.publish import registry
from scratch_image.publish.registry import Repository
from scratch_image.publish.registry_tag import Tag


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
