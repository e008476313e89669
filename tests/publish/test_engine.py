from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from engines import TRIXIE, dockerd, newer_dockerd, podman
from loads import (
    CUT,
    ID,
    NAME,
    NONE,
    SETTINGS,
    build,
    check_streams,
    config_id,
    docker,
    http,
    liar,
    own_id,
    run,
    tar,
)
from scratch_image.errors import EngineError
from scratch_image.files.entry import Entry
from scratch_image.fs.digest import Digest
from scratch_image.fs.root import Root, WatchedFileSystem
from scratch_image.image import archive, layer
from scratch_image.image.config import Image
from scratch_image.publish import container, engine, ping
from scratch_image.publish.engine import LoadedImage
from scratch_image.sandbox.run import Run


def test_an_image_that_goes_before_it_is_exported(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = "sha256:" + "1" * 64
    monkeypatch.setattr(engine, "find", lambda *_: LoadedImage(gone, (), ()))

    with pytest.raises(EngineError) as caught:
        list(engine.export(address, NAME))

    assert str(caught.value) == (
        f"cannot export image {NAME}: engine at {address}: No such image: {gone}; "
        "look into the engine's log"
    )


def test_the_question_of_a_null_build_imports_no_sdk(address: str) -> None:
    program = (
        "import sys; from scratch_image.publish import engine, ping\n"
        f"assert engine.image_id({address!r}, 'none') is None\n"
        f"assert ping.answers({address!r})\n"
        "print(sorted({'docker', 'requests', 'tarfile', 'http', 'zstandard'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout == "[]\n"


LOADED = LoadedImage(ID, (), ()).text()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"%s\n" % ID.encode(),
        LOADED.replace(b"loaded 1", b"loaded 0"),
        LOADED.replace(ID.encode(), b"sha256:1"),
        LOADED.replace(b"[]", f'[["{ID}"]]'.encode()),
        LOADED.replace(b"[]", b"7"),
    ],
)
def test_text_of_no_image(text: bytes) -> None:
    assert LoadedImage.read(text) is None


def test_image_without_layers_is_read_again() -> None:
    loaded = LoadedImage(ID, (), ())

    assert LoadedImage.read(loaded.text()) == loaded


WHO = "see that Docker or Podman listens there"
LOOK = "look into the engine's log"
Text = Callable[[str], bytes]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_an_image_is_loaded_once_and_runs(
    address: str, tmp_path: Path, show: Path, sent: list[list[Digest]], suffix: str
) -> None:
    files = {b"/app/show": show.read_bytes(), b"/etc/text": b"hello"}
    path, image = build(tmp_path, [tar(tmp_path / "all", files, suffix)])
    assert engine.image_id(address, NAME) is None
    assert config_id(image) == engine.load(address, path).id
    assert config_id(image) == engine.image_id(address, NAME)
    assert run(address) == "hello"
    assert config_id(image) == engine.load(address, path).id
    assert sent == [[]]


def test_an_unchanged_lower_layer_is_not_sent_again(
    address: str, tmp_path: Path, program: bytes, text: Text, sent: list[list[Digest]]
) -> None:
    engine.load(address, build(tmp_path, [program, text("one")])[0])
    path, image = build(tmp_path, [program, text("two")])
    assert config_id(image) == engine.load(address, path).id
    assert [[], [image.layers[0].digest]] == sent
    assert run(address) == "two"


def test_a_changed_lower_layer_is_sent_with_all_above(
    address: str, tmp_path: Path, program: bytes, text: Text, sent: list[list[Digest]]
) -> None:
    engine.load(address, build(tmp_path, [text("one"), program])[0])
    path, image = build(tmp_path, [text("two"), program])
    assert config_id(image) == engine.load(address, path).id
    assert sent == [[], []]
    assert run(address) == "two"


def test_a_label_alone_sends_no_layer(
    address: str, tmp_path: Path, program: bytes, text: Text, sent: list[list[Digest]]
) -> None:
    engine.load(address, build(tmp_path, [program, text("one")])[0])
    labelled = replace(SETTINGS, labels={"a": "b"})
    path, image = build(tmp_path, [program, text("one")], labelled)
    assert config_id(image) == engine.load(address, path).id
    assert [[], sorted(each.digest for each in image.layers)] == sent
    assert run(address) == "one"
    assert docker(address, "inspect", "--format", "{{.Config.Labels.a}}", NAME) == "b\n"


def test_a_layer_that_comes_again_higher_up_is_sent(
    address: str, tmp_path: Path, program: bytes, text: Text, sent: list[list[Digest]]
) -> None:
    engine.load(address, build(tmp_path, [text("one"), program])[0])
    path, image = build(tmp_path, [text("one"), text("two"), program, text("one")])
    assert config_id(image) == engine.load(address, path).id
    assert sent == [[], []]
    assert run(address) == "one"


def test_a_removed_image_is_loaded_again(
    address: str, tmp_path: Path, program: bytes, text: Text, sent: list[list[Digest]]
) -> None:
    path, image = build(tmp_path, [program, text("one")])
    engine.load(address, path)
    docker(address, "rmi", NAME)
    assert engine.image_id(address, NAME) is None
    assert config_id(image) == engine.load(address, path).id
    assert sent == [[], []]
    assert run(address) == "one"


def test_a_moved_tag_is_moved_back(
    address: str, tmp_path: Path, program: bytes, text: Text
) -> None:
    path, image = build(tmp_path, [program, text("one")])
    engine.load(address, path)
    other, moved = build(tmp_path, [program, text("two")], tags=("other",))
    engine.load(address, other)
    docker(address, "tag", "other", NAME)
    assert config_id(moved) == engine.image_id(address, NAME)
    assert config_id(image) == engine.load(address, path).id
    assert (run(address), run(address, "other")) == ("one", "two")


def test_a_load_over_an_image_of_other_content(
    address: str, tmp_path: Path, program: bytes, text: Text, sent: list[list[Digest]]
) -> None:
    engine.load(address, build(tmp_path, [text("unlike")])[0])
    path, image = build(tmp_path, [program, text("one")])
    assert config_id(image) == engine.load(address, path).id
    assert sent == [[], []]
    assert run(address) == "one"


def test_each_tag_is_set(
    address: str, tmp_path: Path, program: bytes, text: Text, sent: list[list[Digest]]
) -> None:
    tags = (NAME, "localhost:5000/show", "show:2")
    path, image = build(tmp_path, [program, text("one")], tags=tags)
    engine.load(address, path)
    assert {config_id(image)} == {engine.image_id(address, tag) for tag in tags}
    docker(address, "rmi", NAME)
    assert config_id(image) == engine.load(address, path).id
    assert [[], sorted(each.digest for each in image.layers)] == sent
    assert run(address) == "one"


def test_a_refused_part_is_followed_by_the_whole(
    address: str,
    tmp_path: Path,
    program: bytes,
    text: Text,
    sent: list[list[Digest]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, image = build(tmp_path, [program, text("one")])
    digests = frozenset(each.digest for each in image.layers)
    monkeypatch.setattr(engine, "omittable_layers", lambda *_: digests)
    assert config_id(image) == engine.load(address, path).id
    assert [sorted(digests), []] == sent
    assert run(address) == "one"


def test_an_engine_at_a_tcp_address(
    address: str, tcp: str, tmp_path: Path, program: bytes, text: Text
) -> None:
    path, image = build(tmp_path, [program, text("one")])
    assert ping.answers(tcp)
    assert engine.image_id(tcp, NAME) is None
    assert config_id(image) == engine.load(tcp, path).id
    assert config_id(image) == engine.image_id(tcp, NAME)
    assert run(address) == "one"


def test_an_empty_image_is_loaded(address: str, tmp_path: Path) -> None:
    path, image = build(tmp_path, [])
    assert config_id(image) == engine.load(address, path).id


ODD = [b"/a b", b"/q'u\"o", b"/new\nline", b"/\xff\xfe", "/käse".encode(), b"/" + b"\xff" * 200]


def test_odd_names_survive_the_engine(address: str, tmp_path: Path) -> None:
    path, _ = build(tmp_path, [tar(tmp_path / "odd", dict.fromkeys(ODD, b"x"))])
    engine.load(address, path)
    container = docker(address, "create", NAME).strip()
    exported = tmp_path / "export.tar"
    docker(address, "export", "-o", str(exported), container)
    docker(address, "rm", container)
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xf", exported, "-C", tmp_path / "out"], check=True)
    found = {b"/" + name for name in os.listdir(os.fsencode(tmp_path / "out"))}
    assert set() == set(ODD) - found


def test_modes_owners_and_hard_links_survive_the_engine(address: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    entries = [
        Entry("dir", 0o700, 0, 0, b"/"),
        Entry("dir", 0o1777, 1, 2, b"/tmp"),
        Entry("file", 0o4755, 1000, 3_000_000, b"/tmp/a"),
        Entry("hard", 0o4755, 1000, 3_000_000, b"/tmp/b", b"/tmp/a"),
        Entry("link", 0o777, 5, 6, b"/tmp/c", b"/no/where"),
    ]
    made = tmp_path / "x.tar"
    with made.open("wb") as sink:
        layer.write(
            sink,
            entries,
            Root(WatchedFileSystem(b"/", {b"/tmp/a": os.fsencode(tmp_path / "a")}, 1000)),
        )
    engine.load(address, build(tmp_path, [os.fsencode(made)])[0])
    container = docker(address, "create", NAME).strip()
    docker(address, "export", "-o", str(tmp_path / "export.tar"), container)
    docker(address, "rm", container)
    told = subprocess.run(
        ["tar", "--numeric-owner", "--full-time", "-tvf", tmp_path / "export.tar", "tmp"],
        env={"TZ": "UTC", "PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
        text=True,
    )
    assert [" ".join(line.split()) for line in told.stdout.splitlines()] == [
        "drwxrwxrwt 1/2 0 1970-01-01 00:16:40 tmp/",
        "-rwsr-xr-x 1000/3000000 1 1970-01-01 00:16:40 tmp/a",
        "hrwsr-xr-x 1000/3000000 0 1970-01-01 00:16:40 tmp/b link to tmp/a",
        "lrwxrwxrwx 5/6 0 1970-01-01 00:16:40 tmp/c -> /no/where",
    ]


def test_an_engine_that_does_not_know_zstd(address: str, tmp_path: Path) -> None:
    path, _ = build(tmp_path, [tar(tmp_path / "x", {b"/etc/x": os.urandom(99999)}, ".tar.zst")])
    with pytest.raises(EngineError) as caught:
        engine.load(address, path)
    start, end = (
        f"cannot load image {NAME}: engine at {address}: ",
        ("invalid tar header; name the layer .tar or .tar.gz: this engine may not know zstd"),
    )
    assert str(caught.value).startswith(start)
    assert str(caught.value).endswith(end)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_full_disk_of_the_engine(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", disk], check=True)
    try:
        path, _ = build(tmp_path, [tar(tmp_path / "x", {b"/etc/x": os.urandom(40 << 20)})])
        with dockerd(disk) as address, pytest.raises(EngineError) as caught:
            engine.load(address, path)
    finally:
        subprocess.run(["umount", "-R", disk], check=True)
    assert str(caught.value).startswith(f"cannot load image {NAME}: engine at {address}: ")
    assert str(caught.value).endswith(
        "no space left on device; free space in the engine's data folder, which `docker info` names"
    )


PROGRESS = b'{"status":"Loading layer","progressDetail":{"current":1}}\r\n'


@pytest.mark.parametrize(
    ("report", "cause"),
    [
        pytest.param(http(b"<html>"), f"its answer is not JSON; {LOOK}", id="no JSON"),
        pytest.param(http(b"[" * 99999), f"its answer is not JSON; {LOOK}", id="deep"),
        pytest.param(http(b"7\n"), f"its answer is not JSON; {LOOK}", id="a number"),
        pytest.param(
            http(PROGRESS + b'{"errorDetail":{"message":"disk is; bad"},"error":"x"}\n' + PROGRESS),
            f"disk is; bad; {LOOK}",
            id="errorDetail",
        ),
        pytest.param(
            http(b'{"errorDetail":{"code":7}}'), "{'code': 7}; " + LOOK, id="error without text"
        ),
        pytest.param(http(b'{"error":"no"}'), f"no; {LOOK}", id="error"),
        pytest.param(
            http(b'{"stream":"Error unpacking image x: apply layer error\\n"}\n'),
            f"Error unpacking image x: apply layer error; {LOOK}",
            id="error as progress",
        ),
        pytest.param(
            http(PROGRESS),
            f"it took the image, but has another one under that tag; {LOOK}",
            id="lie",
        ),
        pytest.param(
            http(b'{"message":"no"}', "500 Internal Server Error"), f"no; {LOOK}", id="500"
        ),
        pytest.param(http(b"{}", "400 Bad Request"), f"it answers 400; {LOOK}", id="400"),
    ],
)
def test_a_load_that_fails(tmp_path: Path, report: bytes, cause: str) -> None:
    path, _ = build(tmp_path, [])
    with liar(NONE, NONE, report, NONE) as address:
        with pytest.raises(EngineError) as caught:
            engine.load(address, path)
        assert f"cannot load image {NAME}: engine at {address}: {cause}" == str(caught.value)


@pytest.mark.parametrize(
    ("report", "cause"),
    [
        pytest.param(http(bytes(2 << 20)), "to load: its answer has no end", id="endless line"),
        pytest.param(
            http(b" " * (17 << 20), "500 Internal Server Error"),
            "anything: its answer has no end",
            id="endless error",
        ),
    ],
)
def test_a_report_without_end(tmp_path: Path, report: bytes, cause: str) -> None:
    path, _ = build(tmp_path, [])
    with liar(NONE, NONE, report) as address:
        with pytest.raises(EngineError) as caught:
            engine.load(address, path)
        assert f"cannot ask engine at {address} {cause}; {WHO}" == str(caught.value)


@pytest.mark.parametrize(
    "report",
    [
        pytest.param(CUT, id="while sending"),
        pytest.param(http(PROGRESS, length=99999), id="in the report"),
    ],
)
def test_a_connection_that_is_cut_off(tmp_path: Path, report: bytes) -> None:
    path, _ = build(tmp_path, [tar(tmp_path / "x", {b"/etc/x": bytes(9 << 20)})])
    with liar(NONE, NONE, report) as address:
        with pytest.raises(EngineError) as caught:
            engine.load(address, path)
        assert str(caught.value).startswith(f"cannot reach engine at {address}: ")
        assert str(caught.value).endswith("; start it, or set DOCKER_HOST")


@pytest.mark.parametrize(
    ("known", "omitted"),
    [
        pytest.param({}, [], id="unknown image"),
        pytest.param({ID: ["b"]}, ["b"], id="one blob"),
        pytest.param({ID: ["a", "b", "other"]}, ["a", "b"], id="all blobs"),
        pytest.param({"sha256:" + "2" * 64: ["a"]}, [], id="another image"),
        pytest.param(
            {"sha256:" + "2" * 64: ["a"], ID: ["b", "a"]}, ["a", "b"], id="the better one"
        ),
    ],
)
def test_a_containerd_store_is_trusted_with_known_blobs_only(
    tmp_path: Path, text: Text, known: dict[str, list[str]], omitted: list[str]
) -> None:
    path, image = build(tmp_path, [text("a"), text("b")])
    digests = {"a": image.layers[0].digest, "b": image.layers[1].digest}
    loaded = [
        LoadedImage(
            manifest,
            tuple(digests.get(blob, Digest.of(blob.encode())) for blob in blobs),
            tuple(Digest.of(blob.encode()) for blob in blobs),
        )
        for manifest, blobs in known.items()
    ]
    layers = [str(each.diff_id) for each in image.layers]
    present = http(json.dumps({"Id": ID, "RootFS": {"Layers": layers}}).encode())
    info = b'{"DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]]}'
    with liar(present, http(info), present) as address:
        found = engine.omittable_layers(address, archive.read(path), loaded)
    assert {digests[name] for name in omitted} == found


def test_the_whole_is_sent_again_when_what_a_refused_part_left_has_gone_meanwhile(
    tmp_path: Path, text: Text, sent: list[list[Digest]]
) -> None:
    path, image = build(tmp_path, [text("a")])
    known = LoadedImage(ID, (image.layers[0].digest,), (image.layers[0].diff_id,))
    info = b'{"DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]]}'
    other, own = (
        http(json.dumps({"Id": name, "RootFS": {}}).encode()) for name in (ID, own_id(path, True))
    )
    refused = http(b'{"error":"parent snapshot does not exist: not found"}')

    with liar(NONE, NONE, http(info), other, refused, refused, http(PROGRESS), own) as address:
        assert engine.load(address, path, [known]).id == own_id(path, True)

    assert [[image.layers[0].digest], [], []] == sent


def test_layers_of_another_image_are_not_sent_again(
    address: str, tmp_path: Path, program: bytes, text: Text, sent: list[list[Digest]]
) -> None:
    first, _ = build(tmp_path, [program, text("one")], tags=("other",))
    second, image = build(tmp_path, [program, text("two")])
    known = LoadedImage.read(engine.load(address, first).text())
    assert known
    blobs = tuple(each.digest for each in image.layers)
    diff_ids = tuple(each.diff_id for each in image.layers)
    gone = LoadedImage("sha256:" + "0" * 64, blobs, diff_ids)

    assert config_id(image) == engine.load(address, second, [gone, known]).id

    assert [[], [image.layers[0].digest]] == sent
    assert run(address) == "two"


def test_podman_is_an_engine_like_any_other(
    tmp_path: Path, program: bytes, text: Text, sent: list[list[Digest]]
) -> None:
    with podman(tmp_path / "engine") as address:
        first = engine.load(address, build(tmp_path, [program, text("one")])[0])
        path, image = build(tmp_path, [program, text("two")])

        assert engine.load(address, path, [first]).id == config_id(image)
        assert engine.image_id(address, NAME) == config_id(image)
        engine.load(address, path)
        result = container.run_container(address, NAME, Run("x", (b"show",)), b"/app/show")
        check_streams(address, tmp_path)

    assert [[], [image.layers[0].digest]] == sent
    assert (result.status, result.stdout) == (0, b"two")


def blobs(image: Image) -> set[str]:
    return {str(each.digest) for each in image.layers}


def held(address: str, directory: Path) -> set[str]:
    """Return the digests of all that the engine has of the image, as a push would need it."""
    saved = directory / "saved.tar"
    docker(address, "save", "-o", str(saved), NAME)
    with tarfile.open(saved) as members:
        return {f"sha256:{os.path.basename(name)}" for name in members.getnames()}


def check_load(
    newer: tuple[str, bool], directory: Path, path: bytes, image: Image, known: list[LoadedImage]
) -> None:
    """Load `image`, which is in the archive `path`: the engine has the whole of it, and it runs."""
    address, containerd = newer
    assert own_id(path, containerd) == engine.load(address, path, known).id
    assert blobs(image) <= held(address, directory)
    assert run(address) == "two"


def test_a_newer_docker_gets_what_is_new(
    newer: tuple[str, bool],
    tmp_path: Path,
    program: bytes,
    text: Text,
    sent: list[list[Digest]],
    asked: list[str],
) -> None:
    address, containerd = newer
    other = tar(tmp_path / "other", {b"/etc/other": b"other"})
    path, _ = build(tmp_path, [program, other, text("one")])
    first = engine.load(address, path)
    assert (own_id(path, containerd), "one") == (first.id, run(address))
    path, image = build(tmp_path, [program, other, text("two")])

    second = engine.load(address, path, [first])
    del asked[:]
    again = engine.load(address, path, [second])

    assert asked == [f"/images/{NAME}/json"]
    assert [[], sorted(each.digest for each in image.layers[:2])] == sent
    assert own_id(path, containerd) == second.id == again.id
    assert blobs(image) <= held(address, tmp_path)
    assert run(address) == "two"
    result = container.run_container(address, NAME, Run("x", (b"show",)), b"/app/show")
    assert (result.status, result.stdout) == (0, b"two")
    check_streams(address, tmp_path)


class Editions(NamedTuple):
    """Two images with the same program above another text, the first of which is loaded."""

    first: LoadedImage
    path: bytes
    """The archive of the second."""
    image: Image


@pytest.fixture
def editions(
    newer: tuple[str, bool],
    tmp_path: Path,
    program: bytes,
    text: Text,
    sent: list[list[Digest]],  # it counts the first load, too
) -> Editions:
    first = engine.load(newer[0], build(tmp_path, [text("one"), program])[0])
    return Editions(first, *build(tmp_path, [text("two"), program]))


def test_a_newer_docker_gets_a_new_lowest_layer(
    newer: tuple[str, bool], tmp_path: Path, editions: Editions, sent: list[list[Digest]]
) -> None:
    first, path, image = editions

    check_load(newer, tmp_path, path, image, [first])

    assert [[], [image.layers[1].digest] if newer[1] else []] == sent


def test_a_newer_docker_with_an_image_that_is_not_on_record(
    newer: tuple[str, bool],
    tmp_path: Path,
    show: Path,
    text: Text,
    sent: list[list[Digest]],
) -> None:
    address, containerd = newer
    files = {b"/app/show": show.read_bytes()}
    packed = tar(tmp_path / "packed", files, ".tar.gz")
    engine.load(address, build(tmp_path, [packed, text("one")])[0])
    path, image = build(tmp_path, [tar(tmp_path / "raw", files), text("two")])

    check_load(newer, tmp_path, path, image, [])

    assert [[], [] if containerd else [image.layers[0].digest]] == sent


def test_a_newer_docker_takes_zstd(newer: tuple[str, bool], tmp_path: Path, show: Path) -> None:
    address, containerd = newer
    files = {b"/app/show": show.read_bytes(), b"/etc/text": b"hello"}
    path, _ = build(tmp_path, [tar(tmp_path / "all", files, ".tar.zst")])

    assert own_id(path, containerd) == engine.load(address, path).id
    assert run(address) == "hello"


def remove_blob(address: str, blob: Digest) -> None:
    """Take `blob` out of the containerd of a newer Docker, by containerd's own tool."""
    pid = Path(address.removeprefix("unix://")).with_name("docker.pid").read_text()
    ctr = ["ctr", "--address=/run/docker/containerd/containerd.sock", "--namespace=moby"]
    entered = ["nsenter", f"--target={pid}", "--mount", "--root", *ctr]
    subprocess.run([*entered, "content", "rm", str(blob)], check=True, capture_output=True)


@pytest.mark.parametrize("newer_daemon", ["containerd store"], indirect=True)
def test_a_blob_that_has_gone_is_sent_after_all(
    newer: tuple[str, bool], tmp_path: Path, editions: Editions, sent: list[list[Digest]]
) -> None:
    first, path, image = editions
    remove_blob(newer[0], image.layers[1].digest)

    check_load(newer, tmp_path, path, image, [first])

    assert [[], [image.layers[1].digest]] == sent[:2]
    assert sent[2:] in ([[]], [[], []])


def mounts_of(pid: int) -> str:
    """Return the name of a process's mount namespace; nothing when it has gone."""
    with suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/mnt")
    return ""


def test_a_newer_docker_leaves_nothing_on_the_machine(tmp_path: Path) -> None:
    with newer_dockerd(tmp_path, containerd=True) as address:
        own = Path(address.removeprefix("unix://")).parent
        space = mounts_of(int((own / "docker.pid").read_text()))
        running = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        running = [pid for pid in running if mounts_of(pid) == space]

    assert len(running) > 1
    assert [pid for pid in running if mounts_of(pid) == space] == []
    mounts = Path("/proc/mounts").read_text()
    assert [place for place in (own, tmp_path, TRIXIE) if str(place) in mounts] == []
    assert not own.exists()
