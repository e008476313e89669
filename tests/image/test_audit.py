"""Each kind of damage to an archive is reported."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import audit
import pytest
from archives import REFERENCES, TAR, build
from hypothesis import given, settings
from hypothesis import strategies as st
from scratch_image.errors import InputError
from scratch_image.fs.digest import Digest
from scratch_image.image import archive, compression, tar_header
from scratch_image.image.config import canonical
from tars import member

OTHER = b"".join([member("etc/", tarfile.DIRTYPE), member("etc/other"), tar_header.END])
GOOD = (Path(__file__).parent / "archive" / "small.oci.tar").read_bytes()
ZERO = "sha256:" + "0" * 64

Members = dict[str, bytes]


class Damaged:
    """An archive that is taken apart, changed, and put together again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with tarfile.open(path) as tar:
            streams = {each.name + "/" * each.isdir(): tar.extractfile(each) for each in tar}
            self.members = {
                name: stream.read() if stream else b"" for name, stream in streams.items()
            }

    def name(self, key: str) -> str:
        """Return the name of ``manifest``, ``config``, ``layer`` or a member."""
        if key not in ("manifest", "config", "layer"):
            return key
        found = archive.read(os.fsencode(self.path))
        digests = {"manifest": found.manifest, "config": found.config, "layer": found.layers[0]}
        return f"blobs/sha256/{digests[key].hex}"

    def write(self) -> None:
        with self.path.open("wb") as sink:
            for name, data in self.members.items():
                kind = tar_header.DIR if name.endswith("/") else tar_header.FILE
                sink.write(tar_header.format_header(name.encode(), kind, size=len(data)) + data)
                sink.write(tar_header.padding(len(data)))
            sink.write(tar_header.END)


Change = Callable[[Damaged], object]


def edit(key: str, change: Callable[[Any], object]) -> Change:
    """Change a document; its name stays, whatever its digest is then."""

    def apply(damaged: Damaged) -> None:
        name = damaged.name(key)
        document = json.loads(damaged.members[name])
        change(document)
        damaged.members[name] = canonical(document)

    return apply


def put(key: str, data: bytes) -> Change:
    return lambda damaged: damaged.members.update({damaged.name(key): data})


def indented(key: str) -> Change:
    def apply(damaged: Damaged) -> None:
        name = damaged.name(key)
        damaged.members[name] = json.dumps(json.loads(damaged.members[name]), indent=1).encode()

    return apply


def last(key: str) -> Change:
    """Move a member to the end."""

    def apply(damaged: Damaged) -> None:
        name = damaged.name(key)
        damaged.members[name] = damaged.members.pop(name)

    return apply


def drop(key: str) -> Change:
    return lambda damaged: damaged.members.pop(damaged.name(key))


@pytest.fixture
def damaged(tmp_path: Path) -> Damaged:
    build(tmp_path / "x.oci.tar", [TAR, OTHER], suffix=".tar")
    return Damaged(tmp_path / "x.oci.tar")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    images = []
    for architecture in ("amd64", "arm64"):
        path = tmp_path / f"{architecture}.oci.tar"
        build(path, [TAR], architecture=architecture)
        images.append(archive.read(os.fsencode(path)))
    with (tmp_path / "x.index.oci.tar").open("wb") as sink:
        archive.write_index(sink, images, REFERENCES, {"org.example.a": "b"})
    return tmp_path / "x.index.oci.tar"


@pytest.mark.parametrize("suffix", sorted(compression.MEDIA_TYPES))
def test_a_sound_image(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "x.oci.tar"
    build(path, [TAR, OTHER], suffix=suffix)
    assert audit.validate(os.fsencode(path)) == []


def test_a_sound_index(index: Path) -> None:
    assert audit.validate(os.fsencode(index)) == []


DAMAGES = [
    pytest.param(edit("oci-layout", lambda layout: layout.update(imageLayoutVersion="2")),
                 ["oci-layout: not version 1.0.0"], id="layout"),
    pytest.param(edit("manifest.json", lambda docker: docker[0]["RepoTags"].pop()),
                 ["index.json: other names than in manifest.json"], id="names"),
    pytest.param(edit("index.json", lambda index: index["manifests"][1].update(digest=ZERO)),
                 ["index.json: more than one image", f"blobs/sha256/{'0' * 64}: missing"],
                 id="two images"),
    pytest.param(edit("manifest.json", lambda docker: docker[0].update(Config="x")),
                 ["manifest.json: another config than in the manifest"], id="config of Docker"),
    pytest.param(edit("manifest.json", lambda docker: docker[0]["Layers"].reverse()),
                 ["manifest.json: other layers than in the manifest"], id="layers of Docker"),
    pytest.param(edit("index.json", lambda index: index["manifests"][0].update(size=1)),
                 ["{manifest}: 547 bytes, not 1"], id="size of the manifest"),
    pytest.param(edit("index.json", lambda index: index["manifests"][0]["platform"].update(os="x")),
                 ["{manifest}: described for another platform than its config's"], id="platform"),
    pytest.param(edit("manifest", lambda manifest: manifest["config"].update(mediaType="x")),
                 ["{manifest}: the content has digest",
                  "{manifest}: other media types than of a manifest and its config"],
                 id="media type"),
    pytest.param(edit("manifest", lambda manifest: manifest["layers"][0].update(size=7)),
                 [f"{{layer}}: {len(TAR)} bytes, not 7", "{manifest}: the content has digest"],
                 id="size of a layer"),
    pytest.param(edit("config", lambda config: config["history"].pop()),
                 ["{manifest}: layers, history and diff IDs differ in number",
                  "{config}: the content has digest"], id="history"),
    pytest.param(edit("config", lambda config: config["rootfs"]["diff_ids"].pop()),
                 ["{manifest}: layers, history and diff IDs differ in number",
                  "{config}: the content has digest"], id="number of diff IDs"),
    pytest.param(edit("config", lambda config: config.update(os="plan9")),
                 ["{config}: the content has digest",
                  "{manifest}: described for another platform than its config's"], id="config"),
    pytest.param(edit("config", lambda config: config["rootfs"]["diff_ids"].reverse()),
                 ["{config}: the content has digest",
                  "{layer}: the uncompressed content has digest"], id="diff IDs"),
    pytest.param(put("layer", TAR[:-1] + b"x"),
                 ["{layer}: the content has digest",
                  "{layer}: the uncompressed content has digest"], id="bytes of a layer"),
    pytest.param(put("layer", b"no tar" * 300),
                 ["{layer}: 1800 bytes, not", "{layer}: it is not a whole tar (",
                  "{layer}: the content has digest",
                  "{layer}: the uncompressed content has digest"], id="no layer at all"),
    pytest.param(edit("manifest", lambda manifest: manifest["layers"][0].update(
                    mediaType=compression.MEDIA_TYPES[".tar.gz"])),
                 ["{layer}: it is not a whole gzip file (",
                  "{layer}: the uncompressed content has digest",
                  "{manifest}: the content has digest"], id="compression"),
    pytest.param(drop("layer"), ["{layer}: missing"], id="no layer"),
    pytest.param(put(f"blobs/sha256/{Digest.of(b'more').hex}", b"more"),
                 [f"blobs/sha256/{Digest.of(b'more').hex}: not a member that is due here"],
                 id="a blob without a name"),
    pytest.param(put("README", b"more"), ["README: not a member that is due here"], id="more"),
    pytest.param(last("index.json"), ["manifest.json: not a member that is due here"], id="order"),
    pytest.param(last("config"), ["{manifest}: not a member that is due here"],
                 id="order of the blobs"),
    pytest.param(drop("blobs/"), [], id="no directory"),
    *(pytest.param(indented(name), [f"{name}: its JSON is not canonical"], id=f"form of {name}")
      for name in ("oci-layout", "index.json", "manifest.json")),
    pytest.param(indented("config"), ["{config}: its JSON is not canonical",
                 "{config}: the content has digest"], id="form of the config"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "expected"), DAMAGES)
def test_damage(damaged: Damaged, change: Change, expected: list[str]) -> None:
    names = {key: damaged.name(key) for key in ("manifest", "config", "layer")}
    change(damaged)
    damaged.write()
    found = audit.validate(os.fsencode(damaged.path))
    for text in expected:
        assert any(line.startswith(text.format(**names)) for line in found), (text, found)
    assert bool(found) == bool(expected)


@pytest.mark.parametrize(
    ("layers", "twice"),
    [
        pytest.param([TAR, TAR], True, id="one layer twice"),
        pytest.param([OTHER, OTHER[:-1024] + member("etc/x") + tar_header.END], True, id="a file"),
        pytest.param([OTHER, member("etc/", tarfile.DIRTYPE) + member("etc/x") + tar_header.END], False,
                     id="a directory"),
        pytest.param([OTHER, member("etc/", tarfile.DIRTYPE, mode=0o700) + tar_header.END], True,
                     id="another mode"),
        pytest.param([member("a") + member("a") + tar_header.END], True, id="within a layer"),
    ],
)  # fmt: skip
def test_no_path_is_packed_twice(tmp_path: Path, layers: list[bytes], twice: bool) -> None:
    build(tmp_path / "x.oci.tar", layers)
    found = audit.validate(os.fsencode(tmp_path / "x.oci.tar"))
    assert all(line.endswith(": packed more than once") for line in found)
    assert bool(found) == twice


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(lambda members, name: members.update({name: b'{"manifests":[]}'}),
                     "the content has digest", id="index"),
        pytest.param(lambda members, name: members.pop("blobs/sha256/" + Digest.of(TAR).hex),
                     "missing", id="shared layer"),
        pytest.param(lambda members, name: members.update(more=b""), "not a member", id="more"),
    ],
)  # fmt: skip
def test_damage_of_an_index(
    index: Path, change: Callable[[Members, str], object], expected: str
) -> None:
    damaged = Damaged(index)
    [top] = {each["digest"] for each in json.loads(damaged.members["index.json"])["manifests"]}
    change(damaged.members, f"blobs/sha256/{Digest(top).hex}")
    damaged.write()
    found = audit.validate(os.fsencode(index))
    assert any(expected in line for line in found), found


JSON = "its JSON is not that of an image"


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        pytest.param(drop("index.json"), "index.json is missing", id="index"),
        pytest.param(drop("oci-layout"), "oci-layout is missing", id="no layout"),
        pytest.param(put("index.json", b"[}"), "index.json is not JSON", id="no JSON"),
        pytest.param(put("index.json", b" " * ((4 << 20) + 1)), "index.json is larger than 4 MiB",
                     id="large"),
        pytest.param(put("index.json", b"{}"), JSON, id="empty index"),
        pytest.param(put("index.json", b"[" * 99999), JSON, id="deep"),
        pytest.param(put("index.json", b'"\\ud800"'), JSON, id="half a character"),
        pytest.param(put("index.json", b"7"), JSON, id="a number"),
        pytest.param(edit("config", lambda config: config.pop("history")), JSON, id="no history"),
        pytest.param(edit("index.json", lambda index: index["manifests"][0].pop("annotations")),
                     JSON, id="no name"),
        pytest.param(edit("index.json", lambda index: index["manifests"][0].update(digest="../x")),
                     JSON, id="digest with a path"),
        pytest.param(edit("manifest", lambda manifest: manifest["config"].pop("size")), JSON,
                     id="no size"),
        pytest.param(edit("manifest", lambda manifest: manifest["layers"][0].update(mediaType=[])),
                     JSON, id="kind of a layer"),
        pytest.param(put("manifest.json", b"[]"), JSON, id="no image"),
    ],
)  # fmt: skip
def test_damaged_archive_is_a_line(damaged: Damaged, change: Change, cause: str) -> None:
    change(damaged)
    damaged.write()
    with pytest.raises(InputError) as caught:
        audit.validate(os.fsencode(damaged.path))
    assert str(caught.value) == (
        f"cannot read image archive {damaged.path}: {cause}; delete it and build it again"
    )


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        pytest.param(b"", "empty file", id="empty"),
        pytest.param(b"x" * 9999, "invalid header", id="text"),
        pytest.param(GOOD[:-512], "its end is missing, or not the end", id="end"),
        pytest.param(GOOD + bytes(512), "its end is missing, or not the end", id="more"),
        pytest.param(tar_header.format_header(b"a") * 2 + tar_header.END,
                     "'a' is not a file, or not the only one", id="twice"),
        pytest.param(tar_header.format_header(b"a", tar_header.LINK, link=b"b") + tar_header.END,
                     "'a' is not a file, or not the only one", id="link"),
    ],
)  # fmt: skip
def test_other_tar_is_not_an_archive(tmp_path: Path, data: bytes, cause: str) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(InputError) as caught:
        audit.validate(os.fsencode(tmp_path / "x"))
    assert str(caught.value) == (
        f"cannot read image archive {tmp_path}/x: {cause}; delete it and build it again"
    )


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch") / "x.oci.tar"


@settings(max_examples=300)
@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=40))
def test_damage_is_an_error_or_a_line(scratch: Path, start: int, damage: bytes) -> None:
    scratch.write_bytes(GOOD[:start] + damage + GOOD[start + len(damage) :])
    try:
        audit.validate(os.fsencode(scratch))
    except InputError as error:
        assert str(error).startswith("cannot read image archive ")


@settings(max_examples=100)
@given(st.integers(0, len(GOOD) - 1))
def test_an_archive_cut_anywhere_is_not_sound(scratch: Path, end: int) -> None:
    scratch.write_bytes(GOOD[:end])
    with pytest.raises(InputError):
        audit.validate(os.fsencode(scratch))


def test_damaged_gzip_is_told_with_the_digest(tmp_path: Path) -> None:
    path = tmp_path / "x.oci.tar"
    size = 3 << 20
    build(
        path,
        [tar_header.format_header(b"x", size=size) + os.urandom(size) + tar_header.END],
        suffix=".tar.gz",
    )
    damaged = Damaged(path)
    name = damaged.name("layer")
    data = damaged.members[name]
    damaged.members[name] = data[:5000] + b"\xff" * 5000 + data[10000:]
    damaged.write()
    found = audit.validate(os.fsencode(path))
    assert f"{name}: the content has digest {Digest.of(damaged.members[name])}" in found
    assert any(line.startswith(f"{name}: it is not a whole gzip file (") for line in found)
