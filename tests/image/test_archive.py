from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import audit
import pytest
from archives import REFERENCES, SETTINGS, TAR, build, contents, rewrite
from scratch_image.errors import InputError
from scratch_image.fs.digest import Digest
from scratch_image.image import archive, compression, layer, tar_header
from scratch_image.image.archive import Archive
from scratch_image.image.config import Image
from scratch_image.image.layer import Layer
from tars import listing

GOLDEN = Path(__file__).parent / "archive"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    build(tmp_path / "x.oci.tar", [TAR, tar_header.END])
    return tmp_path / "x.oci.tar"


def test_the_archive_is_the_golden_one(small: Path) -> None:
    assert (GOLDEN / "small.oci.tar").read_bytes() == small.read_bytes()


def test_gnu_tar_lists_it_as_it_is(small: Path) -> None:
    assert (GOLDEN / "small.txt").read_bytes() == listing(small)


@pytest.mark.parametrize("suffix", sorted(compression.MEDIA_TYPES))
def test_it_is_read_back_and_sound(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "x.oci.tar"
    image = build(path, [TAR, tar_header.END], suffix=suffix)
    found = archive.read(os.fsencode(path))
    assert (
        Archive(
            path=os.fsencode(path),
            members=found.members,
            references=tuple(REFERENCES),
            manifest=Digest.of(image.manifest.json()),
            config=Digest.of(image.config.json()),
            layers=tuple(each.digest for each in image.layers),
            diff_ids=(Digest.of(TAR), Digest.of(tar_header.END)),
            architecture="amd64",
        )
        == found
    )
    names = [member.name for member in found.members]
    assert names[3:5] == ["blobs/", "blobs/sha256/"]
    assert list(contents(path)) == [name for name in names if not name.endswith("/")]
    assert audit.validate(os.fsencode(path)) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_skopeo_reads_it_as_an_ordinary_user(tmp_path: Path) -> None:
    path = Path(tempfile.mkdtemp(dir="/tmp")) / "x.oci.tar"
    path.parent.chmod(0o755)
    build(path, [TAR])
    try:
        subprocess.run(
            [
                *("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"),
                *("skopeo", "inspect", f"oci-archive:{path}:{REFERENCES[0].tag}"),
            ],
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
            check=True,
            stdout=subprocess.DEVNULL,
        )
    finally:
        shutil.rmtree(path.parent)


@pytest.mark.parametrize("transport", ["oci-archive", "docker-archive"])
def test_skopeo_reads_it(tmp_path: Path, transport: str) -> None:
    path = tmp_path / "x.oci.tar"
    image = build(path, [TAR], REFERENCES[:1], suffix=".tar.gz")
    told = subprocess.run(
        ["skopeo", "inspect", f"{transport}:{path}"], capture_output=True, check=True, text=True
    )
    found = json.loads(told.stdout)
    assert (found["Architecture"], found["Created"]) == ("amd64", "2023-11-14T22:13:20Z")
    config = subprocess.run(
        ["skopeo", "inspect", "--config", "--raw", f"{transport}:{path}"],
        capture_output=True,
        check=True,
    )
    assert image.config.json() == config.stdout
    if transport == "oci-archive":
        assert str(Digest.of(image.manifest.json())) == found["Digest"]
        assert [str(image.layers[0].digest)] == found["Layers"]


def test_skopeo_copies_it_with_all_digests(tmp_path: Path) -> None:
    path = tmp_path / "x.oci.tar"
    image = build(path, [TAR, tar_header.END], REFERENCES[:1], suffix=".tar.gz")
    subprocess.run(
        ["skopeo", "copy", "--insecure-policy", f"oci-archive:{path}", f"dir:{tmp_path / 'out'}"],
        capture_output=True,
        check=True,
    )
    assert image.manifest.json() == (tmp_path / "out" / "manifest.json").read_bytes()


def test_a_layer_that_comes_twice_is_stored_once(tmp_path: Path) -> None:
    path = tmp_path / "x.oci.tar"
    image = build(path, [TAR, tar_header.END, TAR])
    assert len(contents(path)) == 7
    assert len(archive.read(os.fsencode(path)).layers) == 3
    assert image.layers[0] == image.layers[2]
    assert all(line.endswith(": packed more than once") for line in audit.validate(bytes(path)))


def test_chunks_are_the_archive(small: Path) -> None:
    assert small.read_bytes() == b"".join(archive.read(os.fsencode(small)).chunks())


def test_chunks_leave_out_what_is_said(small: Path, tmp_path: Path) -> None:
    found = archive.read(os.fsencode(small))
    part = tmp_path / "part.tar"
    part.write_bytes(b"".join(found.chunks([found.layers[0]])))
    expected = contents(small)
    assert expected.pop(f"blobs/sha256/{found.layers[0].hex}") == TAR
    assert expected == contents(part)
    assert found.layers == archive.read(os.fsencode(part)).layers
    assert [f"blobs/sha256/{found.layers[0].hex}: missing"] == audit.validate(os.fsencode(part))


def test_an_archive_without_a_tag() -> None:
    with pytest.raises(InputError) as caught:
        archive.write(io.BytesIO(), Image(SETTINGS, ()), [], [])
    assert str(caught.value) == "cannot write image archive: it has no tag; give it one"


def test_more_layers_than_an_engine_takes(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        build(tmp_path / "x.oci.tar", [TAR] * 126)
    assert str(caught.value) == (
        "cannot write image archive: it has 126 layers, and engines take 125; join some"
    )


@pytest.mark.parametrize(
    "data", [TAR + b"\0", TAR[:-1], TAR[:-1] + b"x"], ids=["long", "short", "x"]
)
def test_a_layer_file_that_changed(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "x y.tar"
    file.write_bytes(TAR)
    image = Image(SETTINGS, (layer.read(os.fsencode(file)),))
    file.write_bytes(data)
    with pytest.raises(InputError) as caught:
        archive.write(io.BytesIO(), image, [os.fsencode(file)], REFERENCES)
    assert (
        f"cannot write image archive: layer {tmp_path}/x\\040y.tar changed while it was read; "
        "build again when nothing writes to it"
    ) == str(caught.value)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system with room for 16 kB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    where = tmp_path / "disk"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", where], check=True)
    yield where
    subprocess.run(["umount", where], check=True)


def test_a_full_disk_is_the_callers_to_tell(tmp_path: Path, small_disk: Path) -> None:
    file = tmp_path / "x.tar"
    file.write_bytes(os.urandom(100_000 // 512 * 512) + tar_header.END)
    image = Image(SETTINGS, (layer.read(os.fsencode(file)),))
    with (
        pytest.raises(OSError, match="No space left on device"),
        (small_disk / "x.oci.tar").open("wb", buffering=0) as sink,
    ):
        archive.write(sink, image, [os.fsencode(file)], REFERENCES)


def test_a_layer_of_8_gib_is_found(small: Path) -> None:
    name = f"blobs/sha256/{'0' * 64}"
    with small.open("r+b") as file:
        file.seek(-len(tar_header.END), os.SEEK_END)
        start = file.tell()
        file.write(tar_header.format_header(name.encode(), size=1 << 33))
        file.seek(1 << 33, os.SEEK_CUR)
        file.write(tar_header.END)
    member = archive.read(os.fsencode(small)).members[-1]
    assert (name, start, start + 1536, 1 << 33) == (
        member.name,
        member.start,
        member.data,
        member.size,
    )


def edit(name: str, change: Callable[[Any], object]) -> Callable[[dict[str, bytes]], None]:
    """Return what changes the JSON of the member `name`, found by the start of its name."""

    def apply(members: dict[str, bytes]) -> None:
        document = json.loads(members[name])
        change(document)
        members[name] = json.dumps(document).encode()

    return apply


def replace(name: str, data: bytes) -> Callable[[dict[str, bytes]], None]:
    def apply(members: dict[str, bytes]) -> None:
        members[name] = data

    return apply


_IMAGE = Image(
    SETTINGS,
    tuple(
        Layer(compression.MEDIA_TYPES[".tar"], Digest.of(data), len(data), Digest.of(data))
        for data in (TAR, tar_header.END)
    ),
)
MANIFEST = f"blobs/sha256/{Digest.of(_IMAGE.manifest.json()).hex}"
CONFIG = f"blobs/sha256/{_IMAGE.manifest.config.digest.hex}"
LAYER = f"blobs/sha256/{Digest.of(TAR).hex}"
ZERO = "sha256:" + "0" * 64


JSON = "its JSON is not that of one image"


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        pytest.param(
            lambda members: members.pop("index.json"), "index.json is missing", id="index"
        ),
        pytest.param(lambda members: members.pop(CONFIG), f"{CONFIG} is missing", id="config"),
        pytest.param(replace("manifest.json", b"[}"), "manifest.json is not JSON", id="no JSON"),
        pytest.param(replace("index.json", b"\xff"), "index.json is not JSON", id="not UTF-8"),
        pytest.param(
            replace("index.json", b"9" * 9999), "index.json is not JSON", id="huge number"
        ),
        pytest.param(
            replace("index.json", bytes((4 << 20) + 1)),
            "index.json is larger than 4 MiB",
            id="large",
        ),
        pytest.param(replace("index.json", b"[" * 99999), JSON, id="deep"),
        pytest.param(replace("index.json", b"{}"), JSON, id="empty index"),
        pytest.param(replace("index.json", b"7"), JSON, id="a number"),
        pytest.param(replace("manifest.json", b"[]"), JSON, id="no image"),
        pytest.param(replace("manifest.json", b'[{"RepoTags":null}]'), JSON, id="null tags"),
        pytest.param(replace("manifest.json", b'[{"RepoTags":[]}]'), JSON, id="no tags"),
        pytest.param(replace("manifest.json", b'[{"RepoTags":[1]}]'), JSON, id="tags of numbers"),
        pytest.param(replace("manifest.json", b'[{"RepoTags":["X"]}]'), JSON, id="bad tag"),
        pytest.param(
            edit("index.json", lambda index: index["manifests"][0].update(digest="sha256:../x")),
            JSON,
            id="digest with a path",
        ),
        pytest.param(
            edit(CONFIG, lambda config: config["rootfs"]["diff_ids"].pop()), JSON, id="diff IDs"
        ),
    ],
)
def test_damaged_archive_is_a_line(
    small: Path, change: Callable[[dict[str, bytes]], object], cause: str
) -> None:
    members = contents(small)
    change(members)
    rewrite(small, members)
    with pytest.raises(InputError) as caught:
        archive.read(os.fsencode(small))
    assert (f"cannot read image archive {small}: {cause}; delete it and build it again") == str(
        caught.value
    )


def head(name: bytes, **values: Any) -> bytes:
    return tar_header.format_header(name, **values)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        pytest.param(b"", "the end of the tar is missing", id="empty"),
        pytest.param(b"x" * 511, "it is not a whole tar (truncated header)", id="short"),
        pytest.param(b"x" * 512, "it is not a whole tar (invalid header)", id="text"),
        pytest.param(
            head(b"a")[:148] + b"-0000001" + head(b"a")[156:],
            "it is not a whole tar (bad checksum)",
            id="-",
        ),
        pytest.param(head(b"a"), "the end of the tar is missing", id="no end"),
        pytest.param(head(b"a", size=9), "the end of the tar is missing", id="no content"),
        pytest.param(
            head(b"a") * 2 + tar_header.END,
            "'a' is not a file, or not the only one, or one too many",
            id="twice",
        ),
        pytest.param(
            head(b"a", flag=tar_header.LINK, link=b"/etc/passwd") + tar_header.END,
            "'a' is not a file, or not the only one, or one too many",
            id="link",
        ),
        pytest.param(
            b"".join(head(b"%d" % number) for number in range(1001)) + tar_header.END,
            "'1000' is not a file, or not the only one, or one too many",
            id="many members",
        ),
        pytest.param(tar_header.END, "index.json is missing", id="nothing in it"),
        pytest.param(
            head(b"p", flag=tarfile.XHDTYPE, size=27)
            + b"27 size=999999999999999999\n".ljust(512, b"\0")
            + head(b"a"),
            "it is not a whole tar (unexpected end of data)",
            id="PAX size beyond all",
        ),
        pytest.param(
            head(b"p", flag=tarfile.XHDTYPE, size=(1 << 33) - 1),
            "it is not a whole tar (empty header)",
            id="huge PAX header",
        ),
        pytest.param(
            head(b"p", flag=tarfile.XHDTYPE, size=9)
            + b"9 path=b\n".ljust(512, b"\0")
            + tar_header.END,
            "it is not a whole tar (end of file header)",
            id="PAX header of no member",
        ),
    ],
)
def test_file_that_is_not_a_tar(tmp_path: Path, data: bytes, cause: str) -> None:
    path = tmp_path / "x.oci.tar"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        archive.read(os.fsencode(path))
    assert (f"cannot read image archive {path}: {cause}; delete it and build it again") == str(
        caught.value
    )


# The index of several platforms


def _images(directory: Path, *architectures: str) -> list[Archive]:
    """Build an image for each of `architectures`: one layer is the same in all of them."""
    found = []
    for architecture in architectures:
        path = directory / f"{architecture}.oci.tar"
        build(path, [TAR], architecture=architecture)
        found.append(archive.read(os.fsencode(path)))
    return found


def _index(path: Path, images: list[Archive]) -> Digest:
    with path.open("wb") as sink:
        return archive.write_index(sink, images, REFERENCES)


def _skopeo(*arguments: str) -> Any:
    ran = subprocess.run(["skopeo", *arguments], stdout=subprocess.PIPE, check=True)
    return json.loads(ran.stdout)


@pytest.mark.parametrize("order", [("amd64", "arm64", "arm"), ("arm64", "arm", "amd64")])
def test_skopeo_finds_each_platform_of_an_index(tmp_path: Path, order: tuple[str, ...]) -> None:
    images = _images(tmp_path, *order)
    path = tmp_path / "x.index.oci.tar"
    digest = _index(path, images)
    assert audit.validate(os.fsencode(path)) == []

    for reference in REFERENCES:
        where = f"oci-archive:{path}:{reference.tag}"
        found = _skopeo("inspect", "--raw", where)
        assert [each["platform"]["architecture"] for each in found["manifests"]] == list(order)
        assert [each["digest"] for each in found["manifests"]] == [
            str(each.manifest) for each in images
        ]
        assert Digest.of(contents(path)[f"blobs/sha256/{digest.hex}"]) == digest
        for architecture in order:
            config = _skopeo("--override-arch", architecture, "inspect", "--config", where)
            assert config["architecture"] == architecture


def test_skopeo_copies_a_whole_index(tmp_path: Path) -> None:
    path, copied = tmp_path / "x.index.oci.tar", tmp_path / "copy"
    digest = _index(path, _images(tmp_path, "amd64", "arm64"))

    command = ["skopeo", "--insecure-policy", "copy", "-q", "--all", "--preserve-digests"]
    where = f"oci-archive:{path}:{REFERENCES[0].tag}"
    subprocess.run([*command, where, f"dir:{copied}"], check=True)

    blobs = {name.rpartition("/")[2] for name in contents(path) if name.startswith("blobs/")}
    assert len(blobs) == 1 + 2 * 2 + 1
    assert Digest.of((copied / "manifest.json").read_bytes()) == digest
    found = {Digest.of(each.read_bytes()).hex for each in copied.iterdir()}
    assert blobs <= found


def test_an_index_has_the_same_bytes_again(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        _index(tmp_path / name / "x.index.oci.tar", _images(tmp_path / name, "arm64", "amd64"))
    first, second = (tmp_path / name / "x.index.oci.tar" for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_two_images_for_one_platform(tmp_path: Path) -> None:
    build(tmp_path / "other.oci.tar", [tar_header.END])
    other = archive.read(os.fsencode(tmp_path / "other.oci.tar"))
    with pytest.raises(InputError) as caught:
        _index(tmp_path / "x", [*_images(tmp_path, "amd64"), other])
    assert str(caught.value) == (
        f"cannot write image index: {tmp_path}/amd64.oci.tar and {tmp_path}/other.oci.tar are both "
        "for amd64; give one image for each platform"
    )


def test_an_index_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        _index(tmp_path / "x", [])
    assert str(caught.value) == (
        "cannot write image index: it has no image or no tag; give it both"
    )


def test_an_index_of_an_image_that_lacks_a_layer(tmp_path: Path) -> None:
    [image] = _images(tmp_path, "amd64")
    path = tmp_path / "amd64.oci.tar"
    rewrite(path, {k: v for k, v in contents(path).items() if image.layers[0].hex not in k})
    with pytest.raises(InputError) as caught:
        _index(tmp_path / "x", [archive.read(os.fsencode(path))])
    assert str(caught.value) == (
        f"cannot read image archive {path}: a blob is missing; delete it and build it again"
    )


def test_an_index_of_an_image_that_changes(tmp_path: Path) -> None:
    [image] = _images(tmp_path, "amd64")
    path = tmp_path / "amd64.oci.tar"
    path.write_bytes(path.read_bytes().replace(b'"os":"linux"', b'"os":"LINUX"'))
    with pytest.raises(InputError) as caught:
        _index(tmp_path / "x", [image])
    assert str(caught.value) == (
        f"cannot write image archive: {image.config} of {path} changed while it was read; "
        "build again when nothing writes to it"
    )


# For a registry


def test_layout_has_each_blob_once_and_the_image_last(tmp_path: Path) -> None:
    images = []
    for name in ("amd64", "arm64"):
        build(tmp_path / name, [TAR, TAR], architecture=name)
        images.append(archive.read(os.fsencode(tmp_path / name)))
    path = tmp_path / "index"
    with path.open("wb") as sink:
        index = archive.write_index(sink, images, REFERENCES)

    one, all_of_them = archive.layout(images[0].path), archive.layout(os.fsencode(path))

    assert [each.digest for each in one.documents] == [images[0].manifest]
    assert list(one.blobs) == [images[0].config, images[0].layers[0]]
    assert [each.digest for each in all_of_them.documents] == [
        *(image.manifest for image in images),
        index,
    ]
    assert {*all_of_them.blobs} == {*images[0].layers, *(image.config for image in images)}
    for found in (one, all_of_them):
        for digest in found.blobs:
            assert Digest.of(b"".join(found.chunks(digest))) == digest


@pytest.mark.parametrize(
    ("name", "data", "cause"),
    [
        ("index.json", b"{", "index.json is not JSON"),
        ("index.json", b"{}", "its JSON is not that of an image"),
        ("index.json", None, "index.json is missing"),
        ("manifest", b"{}", "{manifest} has another content"),
        ("manifest", None, "{manifest} is missing"),
        ("layer", None, "{layer} is missing"),
    ],
)
def test_layout_that_is_broken_is_refused(
    small: Path, name: str, data: bytes | None, cause: str
) -> None:
    image = archive.read(os.fsencode(small))
    blobs = {"manifest": image.manifest, "layer": image.layers[0]}
    names = {key: f"blobs/sha256/{digest.hex}" for key, digest in blobs.items()}
    members = contents(small)
    if data is None:
        del members[names.get(name, name)]
    else:
        members[names.get(name, name)] = data
    rewrite(small, members)

    with pytest.raises(InputError) as raised:
        archive.layout(os.fsencode(small))

    assert str(raised.value) == (
        f"cannot read image archive {small}: {cause.format(**names)}; delete it and build it again"
    )
