from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from lab import NO_ENGINE
from scratch_image.errors import EngineError
from scratch_image.fs.root import Aspect, Root
from scratch_image.image import compression
from scratch_image.sysroot.origin import EngineOrigin, TarOrigin
from tars import member, packed
from trees import LOADER, make


@pytest.mark.parametrize("suffix", list(compression.MEDIA_TYPES))
def test_archive_is_unpacked_without_its_devices(tmp_path: Path, tree: bytes, suffix: str) -> None:
    archive = packed(
        tmp_path, LOADER, member("dev/null", tarfile.CHRTYPE), member("etc/x"), suffix=suffix
    )

    made = make(TarOrigin("x"), tree, archive)

    assert made.paths == 5
    assert sorted(os.listdir(tree)) == [b"etc", b"lib64"]
    assert (Path(os.fsdecode(tree)) / "etc/x").read_text() == "etc/x"


def test_image_is_exported_by_tag_and_digest(engine: str, tmp_path: Path, tree: bytes) -> None:
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    rootfs = packed(tmp_path, LOADER, member("etc/x", mode=0o640, uid=5, gid=6))
    docker = ["docker", "-H", engine]
    done = subprocess.run(
        [*docker, "import", rootfs, "example/base:1"], capture_output=True, text=True, check=True
    )
    root, other = Root(), Root()

    by_tag = make(EngineOrigin(engine, "example/base:1"), tree, root=root)
    found = os.lstat(tree + b"/etc/x")
    by_id = make(EngineOrigin(engine, done.stdout.strip()), tree, root=other)

    assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (0o640, 5, 6)
    assert by_tag.content == by_id.content
    assert root.looked == {(f"{engine} example/base:1".encode(), Aspect.IMAGE)}
    assert other.looked == set()
    left = subprocess.run([*docker, "ps", "-aq"], capture_output=True, check=True)
    assert left.stdout == b""


def test_image_that_the_engine_does_not_have(engine: str, tree: bytes) -> None:
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")

    with pytest.raises(EngineError) as error:
        make(EngineOrigin(engine, "example/none:1"), tree)

    assert str(error.value) == (
        f"cannot export image example/none:1: engine at {engine} has none of that name; "
        "pull or load it"
    )
