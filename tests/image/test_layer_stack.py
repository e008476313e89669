from __future__ import annotations

import os
import random
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from debs import install
from scratch_image.errors import InputError
from scratch_image.files import package_records
from scratch_image.files.entry import Entry
from scratch_image.files.merge import merge
from scratch_image.files.request import Request
from scratch_image.fs.overlay import Overlay
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem
from scratch_image.image import compression, layer, layer_stack
from scratch_image.image.layer_stack import OWN, SMALL, Blob, Group

LARGE = layer_stack._LARGE


def _random(size: int, seed: str) -> str:
    return "".join(random.Random(seed).choices("abcdefgh", k=size))


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Know no blobs of other tests."""
    monkeypatch.setattr(layer_stack, "_known", {})
    monkeypatch.setattr(layer_stack, "_locks", {})


@pytest.fixture
def base(tmp_path: Path) -> Path:
    base = tmp_path / "base"
    for key in ("libc6:amd64", "bash", "libssl3t64:amd64"):
        text = _random(LARGE, key)
        install(base, key, {f"/usr/lib/{key}.so": text, f"/usr/share/{key}/data": key})
    install(base, "tiny", {"/usr/bin/tiny": "tiny"})
    install(base, "little", {"/usr/bin/little": "x" * (LARGE - 1)})
    (base / "usr/lib/libc6:amd64.so.6").symlink_to("libc6:amd64.so")
    with (base / "var/lib/dpkg/info/libc6:amd64.list").open("a") as stream:
        stream.write("/usr/lib/libc6:amd64.so.6\n")
    (base / "srv/empty").mkdir(parents=True)
    (base / "srv/own").write_text("own")
    return base


ALL = (
    *("/usr/lib/libc6:amd64.so.6", "/usr/lib/bash.so", "/usr/lib/libssl3t64:amd64.so"),
    *("/usr/share/bash/data", "/usr/bin/tiny", "/usr/bin/little", "/srv/own", "/srv/empty"),
)


def _listed(base: Path, *paths: str, told: bool = True) -> tuple[Overlay, tuple[Entry, ...]]:
    """Return the entries of an image of `paths`, and of what is `told` of their packages."""
    view = Overlay(
        Root(WatchedFileSystem(os.fsencode(base), epoch=7)), os.fsencode(base.parent / "project")
    )
    wants = [Request(os.fsencode(path), "run:1") for path in paths]
    if told:
        wants += package_records.record_requests(view, merge(view, wants))
    return view, merge(view, wants)


def _plan(base: Path, *paths: str, told: bool = True) -> dict[str, list[str]]:
    """Return what is in each layer but for directories that are above something."""
    groups = layer_stack.plan(*_listed(base, *paths, told=told))
    assert [*{group.name: 0 for group in groups}] == [group.name for group in groups]
    names = {group.name: [os.fsdecode(entry.path) for entry in group.entries] for group in groups}
    return {
        name: [path for path in found if not any(x.startswith(f"{path}/") for x in found)]
        for name, found in names.items()
    }


def _pack(text_path: Path, base: Path, *paths: str, suffix: str = ".tar.gz") -> list[Blob]:
    view, entries = _listed(base, *paths)
    made = [
        layer_stack.pack(os.fsencode(text_path), each, view, suffix)
        for each in layer_stack.plan(view, entries)
    ]
    blobs = [blob for blob, _ in made]
    text_path.write_bytes(layer_stack.write(blobs, compression.compressor(suffix)))
    layer_stack.keep(os.fsencode(text_path), blobs)
    return blobs


def test_large_packages_have_layers_of_their_own_and_what_is_nobodys_the_last(base: Path) -> None:
    assert _plan(base, *ALL, told=False) == {
        "libc6:amd64": ["/usr/lib/libc6:amd64.so", "/usr/lib/libc6:amd64.so.6"],
        "libssl3t64:amd64": ["/usr/lib/libssl3t64:amd64.so"],
        "bash": ["/usr/lib/bash.so", "/usr/share/bash/data"],
        SMALL: ["/usr/bin/little", "/usr/bin/tiny"],
        OWN: ["/srv/empty", "/srv/own"],
    }


def test_records_of_a_package_are_in_its_layer(base: Path) -> None:
    planned = _plan(base, *ALL)

    assert planned["bash"] == [
        "/usr/lib/bash.so",
        "/usr/share/bash/data",
        "/var/lib/dpkg/status.d/bash",
        "/var/lib/dpkg/status.d/bash.md5sums",
    ]
    assert planned[OWN] == ["/srv/empty", "/srv/own"]


def test_layers_have_nothing_in_common_but_directories(base: Path) -> None:
    view, entries = _listed(base, *ALL)
    groups = layer_stack.plan(view, entries)

    packed = [entry for group in groups for entry in group.entries if entry.kind != "dir"]
    assert sorted(entry.path for entry in packed) == sorted(
        entry.path for entry in entries if entry.kind != "dir"
    )
    assert {entry for group in groups for entry in group.entries} == {*entries}


def test_another_name_of_a_file_lies_with_it(base: Path) -> None:
    first = base / "usr/lib/bash.so"
    os.link(first, base / "usr/lib/other-name")

    planned = _plan(base, "/usr/lib/bash.so", "/usr/lib/other-name", told=False)

    assert planned == {"bash": ["/usr/lib/bash.so", "/usr/lib/other-name"]}


@pytest.mark.parametrize(
    "keys",
    [
        ["libc6:amd64", "libgcc-s1", "zlib1g:amd64", "libssl3", "bash", "git"],
        ["libc6", "libgcc-s1:arm64", "libssl3t64:amd64", "libpcre2-8-0", "libcx"],
        ["libstdc++6", "libbz2-1.0:amd64", "libxml2", "a", "b"],
    ],
)  # fmt: skip
def test_packages_that_many_need_come_first(keys: list[str]) -> None:
    shuffled = keys[::2] + keys[1::2]

    assert sorted(shuffled, key=layer_stack._rank) == keys


def test_more_packages_than_layers(base: Path) -> None:
    names = [f"p{number:02}" for number in range(45)]
    for number, name in enumerate(names):
        install(base, name, {f"/opt/{name}": "x" * (LARGE + 100 - number)})

    planned = _plan(base, *(f"/opt/{name}" for name in names), "/srv/own", told=False)

    assert [*planned] == [*names[:38], SMALL, OWN]
    assert planned[SMALL] == [f"/opt/{name}" for name in names[38:]]


def test_image_of_nothing_has_a_layer(base: Path) -> None:
    view, _ = _listed(base)

    assert layer_stack.plan(view, ()) == (Group(OWN, ()),)


def test_size_that_decides_is_on_record(base: Path) -> None:
    view, entries = _listed(base, "/usr/bin/little")

    layer_stack.plan(view, entries)

    assert (b"/usr/bin/little", Aspect.CONTENT) in view.looked


@pytest.mark.parametrize("suffix", sorted(compression.MEDIA_TYPES))
def test_text_tells_what_the_blobs_are(base: Path, tmp_path: Path, suffix: str) -> None:
    text_path = tmp_path / "a/x.layers"
    text_path.parent.mkdir()

    blobs = _pack(text_path, base, *ALL, suffix=suffix)

    assert layer_stack.read(os.fsencode(text_path)) == tuple(blobs)
    assert [blob.layer for blob in blobs] == [layer.read(blob.path) for blob in blobs]
    assert sorted(os.listdir(tmp_path / "a/x.blobs")) == sorted(
        f"{blob.layer.diff_id.hex}{suffix}" for blob in blobs
    )


def test_layer_is_the_same_in_every_image(base: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    a = _pack(tmp_path / "a/a.layers", base, "/usr/lib/libc6:amd64.so.6", "/srv/own")
    layer_stack._known.clear()

    b = _pack(tmp_path / "b/b.layers", base, *ALL)

    same = {blob.name: blob.layer for blob in a if blob.name == "libc6:amd64"}
    assert same.items() <= {blob.name: blob.layer for blob in b}.items()


def _inodes(blobs: list[Blob]) -> list[int]:
    return [os.stat(blob.path).st_ino for blob in blobs]


@pytest.fixture
def two(base: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Return where the texts of two stacks lie; the first one is there."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    _pack(tmp_path / "a/x.layers", base, *ALL)
    layer_stack._known.clear()
    layer_stack.recall(os.fsencode(tmp_path / "a/x.layers"))
    return tmp_path / "a/x.layers", tmp_path / "b/y.layers"


def test_blob_of_another_stack_is_linked(base: Path, two: tuple[Path, Path]) -> None:
    first = layer_stack.read(os.fsencode(two[0]))

    second = _pack(two[1], base, *ALL)

    assert _inodes(second) == _inodes([*first])
    assert two[0].read_bytes() == two[1].read_bytes()


def _spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [_spoil, Path.unlink, lambda path: os.truncate(path, 9)])
def test_blob_that_is_not_what_it_was_is_made_again(
    base: Path, two: tuple[Path, Path], harm: object
) -> None:
    first = layer_stack.read(os.fsencode(two[0]))
    assert callable(harm)
    harm(Path(os.fsdecode(first[0].path)))

    second = _pack(two[1], base, *ALL)

    assert [layer.read(blob.path) for blob in second] == [blob.layer for blob in first]
    same = [one == two for one, two in zip(_inodes(second)[1:], _inodes([*first[1:]]), strict=True)]
    assert all(same)


def test_own_blob_that_was_spoiled_is_taken_from_another_stack(
    base: Path, two: tuple[Path, Path]
) -> None:
    second = _pack(two[1], base, *ALL)
    own = Path(os.fsdecode(second[0].path))
    own.unlink()
    own.write_bytes(b"spoiled")
    layer_stack._known.clear()
    layer_stack.recall(os.fsencode(two[0]))

    assert _inodes(_pack(two[1], base, *ALL)) == _inodes([*layer_stack.read(os.fsencode(two[0]))])


def test_blob_of_another_compressor_is_not_taken(base: Path, two: tuple[Path, Path]) -> None:
    two[0].write_bytes(two[0].read_bytes().replace(b"compressor zlib", b"compressor zlub"))
    layer_stack._known.clear()
    layer_stack.recall(os.fsencode(two[0]))

    second = _pack(two[1], base, *ALL)

    assert [os.stat(blob.path).st_nlink for blob in second] == [1] * len(second)


def test_blob_on_another_file_system_is_made(base: Path, two: tuple[Path, Path]) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        text_path = Path(name) / "x.layers"

        blobs = _pack(text_path, base, *ALL)

        assert [os.stat(blob.path).st_nlink for blob in blobs] == [1] * len(blobs)
        assert text_path.read_bytes() == two[0].read_bytes()


def test_blob_is_made_once_by_many_threads(base: Path, tmp_path: Path) -> None:
    view, entries = _listed(base, "/usr/lib/bash.so")
    [group] = layer_stack.plan(view, entries)
    gate = threading.Barrier(8)

    def work(number: int) -> tuple[Blob, bool]:
        (tmp_path / str(number)).mkdir()
        gate.wait()
        text_path = os.fsencode(tmp_path / str(number) / "x.layers")
        return layer_stack.pack(text_path, group, view, ".tar.gz")

    with ThreadPoolExecutor(8) as pool:
        made = [*pool.map(work, range(8))]

    assert sorted(is_new for _, is_new in made) == [False] * 7 + [True]
    assert len({*_inodes([blob for blob, _ in made])}) == 1


def test_blobs_that_are_of_no_use_any_more_go(base: Path, tmp_path: Path) -> None:
    _pack(tmp_path / "x.layers", base, *ALL)
    (tmp_path / "x.blobs/.new.new").touch()

    [blob] = _pack(tmp_path / "x.layers", base, "/usr/lib/bash.so")

    assert os.listdir(os.fsencode(tmp_path / "x.blobs")) == [os.path.basename(blob.path)]


def test_no_half_blob_is_left(base: Path, tmp_path: Path) -> None:
    view, entries = _listed(base, "/usr/lib/bash.so")
    [group] = layer_stack.plan(view, entries)
    directory = tmp_path / "x.blobs"
    (directory / "new").mkdir(parents=True)

    with pytest.raises(IsADirectoryError):
        layer_stack.pack(os.fsencode(tmp_path / "x.layers"), group, view, ".tar")

    assert os.listdir(directory) == ["new"]


def test_layer_by_itself_is_a_stack_of_one(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("x"))

    [blob] = layer_stack.read(os.fsencode(path))

    assert (blob.layer, blob.path) == (layer.read(blob.path), os.fsencode(path))


HEAD = b"# scratch_image layers 1, compressor none\n"
ROW = b"sha256:%s sha256:%s 7 .tar x\n" % (b"0" * 64, b"1" * 64)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        pytest.param(b"", "it is not a list of layers, or its end is missing", id="nothing"),
        pytest.param(b"\x7fELF", "it is not a list of layers, or its end is missing", id="binary"),
        pytest.param(
            HEAD + ROW[:-1], "it is not a list of layers, or its end is missing", id="cut"
        ),
        pytest.param(HEAD + b"x" + ROW, "a line is malformed", id="digest"),
        pytest.param(HEAD + ROW.replace(b".tar", b".zip"), "a line is malformed", id="suffix"),
        pytest.param(HEAD + ROW.replace(b".tar", b"\xff"), "a line is malformed", id="bytes"),
        pytest.param(HEAD + b"\n", "a line is malformed", id="empty line"),
        pytest.param(HEAD + ROW, f"{'0' * 64}.tar is missing", id="blob"),
    ],
)
def test_text_that_is_none(tmp_path: Path, text: bytes, cause: str) -> None:
    path = tmp_path / "x.layers"
    path.write_bytes(text)

    with pytest.raises(InputError) as error:
        layer_stack.read(os.fsencode(path))

    assert str(error.value) == (f"cannot read layers {path}: {cause}; delete it and build it again")


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[bytes]:
    (tmp_path / "x.layers").write_bytes(b"\x00")
    yield os.fsencode(tmp_path / "x.layers")


def test_nothing_is_learnt_from_what_cannot_be_read(broken: bytes) -> None:
    layer_stack.recall(broken)
    layer_stack.recall(broken + b"/none")

    assert layer_stack._known == {}
