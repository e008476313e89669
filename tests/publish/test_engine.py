from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import audit
import pytest
from engines import TRIXIE, dockerd, newer_dockerd, podman
from registries import forward
from scratch_image.errors import EngineError
from scratch_image.files.file_list import Entry
from scratch_image.fs.digest import Digest
from scratch_image.fs.root import Root
from scratch_image.image import archive, compression, layer
from scratch_image.image.archive import Archive
from scratch_image.image.config import Image
from scratch_image.image.settings import Reference, Settings
from scratch_image.publish import engine
from scratch_image.publish.engine import Loaded
from scratch_image.sandbox.run import Run
from scratch_image.sysroot.unpack import Unpacking

SETTINGS = Settings("amd64", entrypoint=["/app/show"])
NAME = "example/show:1"


@pytest.fixture(scope="module")
def show(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a static program that prints /etc/text."""
    directory = tmp_path_factory.mktemp("show")
    (directory / "show.c").write_text(
        "#include <stdio.h>\n"
        'int main(void) { FILE *f = fopen("/etc/text", "r"); int c;\n'
        "  while (f && (c = getc(f)) != EOF) putchar(c); return !f; }\n"
    )
    subprocess.run(
        ["gcc", "-static", "-Os", "-s", "-o", directory / "show", directory / "show.c"], check=True
    )
    return directory / "show"


@pytest.fixture(scope="module")
def status(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Build a static program that prints its effective capabilities."""
    directory = tmp_path_factory.mktemp("status")
    (directory / "status.c").write_text(
        "#include <stdio.h>\n#include <string.h>\n"
        'int main(void) { FILE *f = fopen("/proc/self/status", "r"); char line[256];\n'
        '  while (fgets(line, 256, f)) if (!strncmp(line, "CapEff", 6)) fputs(line, stdout); }\n'
    )
    subprocess.run(
        ["gcc", "-static", "-Os", "-s", "-o", directory / "status", directory / "status.c"],
        check=True,
    )
    return (directory / "status").read_bytes()


@pytest.fixture(scope="module")
def tcp() -> str:
    """Find an address of this machine on which nothing listens yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, tcp: str) -> Iterator[str]:
    with dockerd(tmp_path_factory.mktemp("engine"), tcp) as address:
        yield address


@pytest.fixture
def address(daemon: str) -> str:
    """Give the address of an engine without images."""
    return emptied(daemon)


STORES = {"graph driver": False, "containerd store": True}


@pytest.fixture(scope="module", params=STORES)
def newer_daemon(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, bool]]:
    containerd = STORES[request.param]
    with newer_dockerd(tmp_path_factory.mktemp("newer"), containerd=containerd) as address:
        yield address, containerd


@pytest.fixture
def newer(newer_daemon: tuple[str, bool]) -> tuple[str, bool]:
    """Give the address of a newer engine without images, and whether it has a containerd store."""
    return emptied(newer_daemon[0]), newer_daemon[1]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record what is asked of engines."""
    targets: list[str] = []
    get = engine._get

    def spy(address: str, target: str, seconds: float) -> engine._Answer:
        targets.append(target)
        return get(address, target, seconds)

    monkeypatch.setattr(engine, "_get", spy)
    return targets


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[list[Digest]]:
    """Record what is left out of each archive that is sent."""
    omitted: list[list[Digest]] = []
    chunks = Archive.chunks

    def spy(self: Archive, omit: Collection[Digest] = ()) -> Iterator[bytes]:
        omitted.append(sorted(omit))
        return chunks(self, omit)

    monkeypatch.setattr(Archive, "chunks", spy)
    return omitted


def docker(address: str, *arguments: str) -> str:
    done = subprocess.run(["docker", "-H", address, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def emptied(address: str) -> str:
    """Remove all images of the engine at `address`."""
    found = docker(address, "image", "ls", "-aq").split()
    if found:
        docker(address, "image", "rm", "-f", *sorted(set(found)))
    return address


def run(address: str, name: str = NAME) -> str:
    return docker(address, "run", "--rm", "--network", "none", name)


def tar(path: Path, staged: dict[bytes, bytes], suffix: str = ".tar") -> bytes:
    """Write a layer with `staged` files (image path to bytes) and return where it lies."""
    root = {}
    entries = {Entry("dir", 0o755, 0, 0, os.path.dirname(name)) for name in staged}
    for number, (name, data) in enumerate(staged.items()):
        source = path.with_name(f"{path.name}.{number}")
        source.write_bytes(data)
        source.chmod(0o755)
        root[name] = os.fsencode(source)
        entries.add(Entry("file", 0o755, 0, 0, name))
    made = path.with_name(path.name + suffix)
    with made.open("wb") as output, compression.compress(output, suffix) as sink:
        layer.write(sink, entries, Root(b"/", root, epoch=0))
    return os.fsencode(made)


def capable(directory: Path, status: bytes) -> bytes:
    """Write an image of a program with a capability, under two names and a user; return its path."""
    (directory / "status").write_bytes(status)
    own = {"mode": 0o755, "uid": 0, "gid": 0, "capabilities": "cap_net_raw=ep"}
    entries = [
        Entry("dir", 0o755, 0, 0, b"/app"),
        Entry("file", path=b"/app/status", **own),  # type: ignore[arg-type]
        Entry("hard", path=b"/app/twin", target=b"/app/status", **own),  # type: ignore[arg-type]
    ]
    with (directory / "status.tar").open("wb") as sink:
        staged = {b"/app/status": os.fsencode(directory / "status")}
        layer.write(sink, entries, Root(b"/", staged, epoch=0))
    settings = Settings("amd64", cmd=["/app/status"], user="1000")
    return build(directory, [os.fsencode(directory / "status.tar")], settings)[0]


def effective(address: str, program: str) -> list[str]:
    """Return the capabilities that `program` has in a container."""
    return docker(address, "run", "--rm", "--network", "none", NAME, program).split()


def build(
    directory: Path,
    layers: list[bytes],
    settings: Settings = SETTINGS,
    tags: tuple[str, ...] = (NAME,),
) -> tuple[bytes, Image]:
    """Write an archive of the layer files `layers`; return where it lies and what it holds."""
    image = Image(settings, tuple(layer.read(path) for path in layers))
    path = Path(tempfile.mkdtemp(dir=directory)) / "x.oci.tar"
    with path.open("wb") as sink:
        archive.write(sink, image, layers, [Reference.parse(tag) for tag in tags])
    # Engines have to take layers that hide each other's files, too, which ours do not.
    wrong = audit.validate(os.fsencode(path))
    assert [line for line in wrong if not line.endswith(": packed more than once")] == []
    return os.fsencode(path), image


def config_id(image: Image) -> str:
    return str(Digest.of(image.config.json()))


@pytest.fixture
def program(show: Path, tmp_path: Path) -> bytes:
    return tar(tmp_path / "program", {b"/app/show": show.read_bytes()})


@pytest.fixture
def text(tmp_path: Path) -> Callable[[str], bytes]:
    return lambda words: tar(tmp_path / words, {b"/etc/text": words.encode()})


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
    monkeypatch.setattr(engine, "_omittable", lambda *_: digests)
    assert config_id(image) == engine.load(address, path).id
    assert [sorted(digests), []] == sent
    assert run(address) == "one"


def test_an_image_that_goes_before_it_is_exported(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = "sha256:" + "1" * 64
    monkeypatch.setattr(engine, "_inspect", lambda *_: Loaded(gone, (), ()))

    with pytest.raises(EngineError) as caught:
        list(engine.export(address, NAME))

    assert str(caught.value) == (
        f"cannot export image {NAME}: engine at {address}: No such image: {gone}; "
        "look into the engine's log"
    )


def test_an_engine_at_a_tcp_address(
    address: str, tcp: str, tmp_path: Path, program: bytes, text: Text
) -> None:
    path, image = build(tmp_path, [program, text("one")])
    assert engine.answers(tcp)
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
        layer.write(sink, entries, Root(b"/", {b"/tmp/a": os.fsencode(tmp_path / "a")}, 1000))
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


def test_the_question_of_a_null_build_imports_no_sdk(address: str) -> None:
    program = (
        "import sys; from scratch_image.publish import engine\n"
        f"assert engine.image_id({address!r}, 'none') is None\n"
        f"assert engine.answers({address!r})\n"
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


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        pytest.param("unix:///no/such.sock", "No such file or directory", id="no socket"),
        pytest.param(f"unix:///tmp/{'x' * 200}", "AF_UNIX path too long", id="long path"),
        pytest.param("tcp://127.0.0.1:1", "Connection refused", id="refused"),
        pytest.param("ssh://", "", id="no host"),
        pytest.param("nonsense://x", "", id="unknown protocol"),
        pytest.param("", "", id="empty"),
    ],
)
def test_an_engine_that_is_not_there(tmp_path: Path, text: str, cause: str) -> None:
    if not text:
        text = f"unix://{tmp_path}"
        cause = "Connection refused"
    assert not engine.answers(text)
    with pytest.raises(EngineError) as caught:
        engine.image_id(text, NAME)
    assert str(caught.value).startswith(f"cannot reach engine at {text}: {cause}")
    assert str(caught.value).endswith("; start it, or set DOCKER_HOST")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "all_proxy"])
def test_proxy_is_not_asked_for_an_engine_of_this_machine(
    address: str, tcp: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert engine.image_id(tcp, NAME) is None
    assert engine.answers(address)


def test_engine_behind_a_proxy(tcp: str, daemon: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with forward({"engine.test:2375": tcp.removeprefix("tcp://")}) as way:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{way.port}")

        assert engine.answers("tcp://engine.test:2375")

    assert way.log == ["GET http://engine.test:2375/_ping"]
    for value, message in (
        ("http://fox:horse@127.0.0.1:9", "cannot reach engine at tcp://engine.test:2375: Connection "
         "refused; see that the proxy runs and lets you pass, or name the engine's host in NO_PROXY"),
        ("socks5://fox:horse@p.test", "cannot use proxy socks5://p.test: it is no http://HOST:PORT; "
         "correct the variable HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, or name engine.test:2375 in "
         "NO_PROXY"),
    ):  # fmt: skip
        monkeypatch.setenv("HTTP_PROXY", value)
        with pytest.raises(EngineError) as caught:
            engine.image_id("tcp://engine.test:2375", NAME)
        assert str(caught.value) == message


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_socket_that_one_may_not_use() -> None:
    directory = Path(tempfile.mkdtemp(dir="/tmp"))
    directory.chmod(0o700)
    address = f"unix://{directory}/docker.sock"
    os.seteuid(65534)
    try:
        with pytest.raises(EngineError) as caught:
            engine.image_id(address, NAME)
    finally:
        os.seteuid(0)
        directory.rmdir()
    assert (
        f"cannot reach engine at {address}: Permission denied; "
        "add the user who runs scons to the group that owns the socket"
    ) == str(caught.value)


@contextmanager
def liar(*answers: bytes) -> Iterator[str]:
    """Serve, at the address given, each of `answers` to one connection, the last one for ever.

    A fake, since no engine at hand gives such answers.
    """
    directory = tempfile.mkdtemp(prefix="liar-", dir="/tmp")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{directory}/docker.sock")
        server.listen()
        left = list(answers)

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    _answer(connection, left.pop(0) if len(left) > 1 else left[0])

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"unix://{directory}/docker.sock"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    shutil.rmtree(directory)


def _answer(connection: socket.socket, answer: bytes) -> None:
    received = b""
    while not received.endswith(b"\r\n\r\n" if received[:4] != b"POST" else b"\r\n0\r\n\r\n"):
        piece = connection.recv(1 << 20)
        received += piece
        if not piece or (answer == CUT and received[:4] == b"POST"):
            return
    with suppress(OSError):  # The other side may have had enough.
        connection.sendall(answer)


CUT = b""
"""Answer nothing, and close the connection as soon as a request has begun."""


def http(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.0 {status}\r\nContent-Length: {size}\r\n\r\n".encode() + body


ID = "sha256:" + "1" * 64
NONE = http(b'{"message":"No such image"}', "404 Not Found")
WHO = "see that Docker or Podman listens there"
LOOK = "look into the engine's log"


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        pytest.param(b"", f"anything: its answer is not HTTP; {WHO}", id="nothing"),
        pytest.param(b"\x00" * 999, f"anything: its answer is not HTTP; {WHO}", id="garbage"),
        pytest.param(b"HTTP/1.0 200 OK\r\n", f"anything: its answer is not HTTP; {WHO}", id="head"),
        pytest.param(
            http(b'{"Id":"', length=99), f"anything: its answer was cut off; {LOOK}", id="cut off"
        ),
        pytest.param(http(bytes(17 << 20)), f"anything: its answer has no end; {WHO}", id="huge"),
        pytest.param(
            http(b"{}"), f"for image {NAME}: its answer tells no image ID; {WHO}", id="no ID"
        ),
        pytest.param(
            http(json.dumps({"Id": "../x", "RootFS": {}}).encode()),
            f"for image {NAME}: its answer tells no image ID; {WHO}",
            id="no digest",
        ),
        pytest.param(
            http(json.dumps({"Id": [ID], "RootFS": {}}).encode()),
            f"for image {NAME}: its answer tells no image ID; {WHO}",
            id="a list",
        ),
        pytest.param(
            http(json.dumps({"Id": ID, "RootFS": {"Layers": 7}}).encode()),
            f"for image {NAME}: its answer tells no image ID; {WHO}",
            id="layers are a number",
        ),
        pytest.param(
            http(b"[1]"), f"for image {NAME}: its answer is not a JSON object; {WHO}", id="array"
        ),
        pytest.param(
            http(b"[" * 99999),
            f"for image {NAME}: its answer is not a JSON object; {WHO}",
            id="deep",
        ),
        pytest.param(
            http(b'{"message":"kaputt;\\n\\u001b[31m now"}', "500 Internal Server Error"),
            f"for image {NAME}: it answers 500 kaputt; [31m now; {LOOK}",
            id="500",
        ),
        pytest.param(
            http(b"<html>", "403 Forbidden"), f"for image {NAME}: it answers 403; {LOOK}", id="403"
        ),
    ],
)
def test_nonsense_answers(answer: bytes, cause: str) -> None:
    with liar(answer) as address:
        with pytest.raises(EngineError) as caught:
            engine.image_id(address, NAME)
        assert f"cannot ask engine at {address} {cause}" == str(caught.value)


def test_an_engine_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_ASK_SECONDS", 0.1)
    directory = tempfile.mkdtemp(prefix="mute-", dir="/tmp")
    address = f"unix://{directory}/docker.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{directory}/docker.sock")
        server.listen()
        before = time.monotonic()
        with pytest.raises(EngineError) as caught:
            engine.image_id(address, NAME)
        assert time.monotonic() - before < 5
    shutil.rmtree(directory)
    assert f"cannot reach engine at {address}: timed out; start it, or set DOCKER_HOST" == str(
        caught.value
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
        Loaded(
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
        found = engine._omittable(address, archive.read(path), loaded)
    assert {digests[name] for name in omitted} == found


def test_the_whole_is_sent_again_when_what_a_refused_part_left_has_gone_meanwhile(
    tmp_path: Path, text: Text, sent: list[list[Digest]]
) -> None:
    path, image = build(tmp_path, [text("a")])
    known = Loaded(ID, (image.layers[0].digest,), (image.layers[0].diff_id,))
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
    known = Loaded.read(engine.load(address, first).text())
    assert known
    blobs = tuple(each.digest for each in image.layers)
    diff_ids = tuple(each.diff_id for each in image.layers)
    gone = Loaded("sha256:" + "0" * 64, blobs, diff_ids)

    assert config_id(image) == engine.load(address, second, [gone, known]).id

    assert [[], [image.layers[0].digest]] == sent
    assert run(address) == "two"


def check_streams(address: str, directory: Path) -> None:
    """Check what a container reads, prints and ends by, byte by byte."""
    with tarfile.open(directory / "busybox.tar", "w") as tar:
        tar.add("/bin/busybox", "busybox")
    command = ["docker", "-H", address, "import", str(directory / "busybox.tar"), "busybox:1"]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)

    def run(*words: bytes, stdin: bytes | None = None) -> tuple[int, bytes, bytes]:
        run = Run("x", (b"busybox", *words))
        result = engine.run_container(address, "busybox:1", run, b"/busybox", stdin)
        return result.status, result.stdout, result.stderr

    data = os.urandom(500_000)
    assert run(b"cat", stdin=data) == (0, data, b"")
    script = b"printf '\\377'; printf '\\376' >&2; kill -ABRT $$"
    assert run(b"sh", b"-c", script) == (134, b"\377", b"\376")
    assert run(b"nproc") == (0, b"1\n", b"")


def test_podman_is_an_engine_like_any_other(
    tmp_path: Path, program: bytes, text: Text, sent: list[list[Digest]]
) -> None:
    with podman(tmp_path / "engine") as address:
        first = engine.load(address, build(tmp_path, [program, text("one")])[0])
        path, image = build(tmp_path, [program, text("two")])

        assert engine.load(address, path, [first]).id == config_id(image)
        assert engine.image_id(address, NAME) == config_id(image)
        engine.load(address, path)
        result = engine.run_container(address, NAME, Run("x", (b"show",)), b"/app/show")
        check_streams(address, tmp_path)

    assert [[], [image.layers[0].digest]] == sent
    assert (result.status, result.stdout) == (0, b"two")


@pytest.mark.parametrize(
    "text",
    [b"", b"x\n", b"%s\nsha256:1\n" % ID.encode(), b"%s\n%s\n" % (ID.encode(), ID.encode())],
)
def test_text_that_tells_of_no_image(text: bytes) -> None:
    assert Loaded.read(text) is None


def test_image_without_layers_is_told_of(tmp_path: Path) -> None:
    loaded = Loaded(ID, (), ())

    assert Loaded.read(loaded.text()) == loaded


def own_id(path: bytes, containerd: bool) -> str:
    """Return the ID by which a store knows the image in the archive `path`."""
    image = archive.read(path)
    return str(image.manifest if containerd else image.config)


def blobs(image: Image) -> set[str]:
    return {str(each.digest) for each in image.layers}


def held(address: str, directory: Path) -> set[str]:
    """Return the digests of all that the engine has of the image, as a push would need it."""
    saved = directory / "saved.tar"
    docker(address, "save", "-o", str(saved), NAME)
    with tarfile.open(saved) as members:
        return {f"sha256:{os.path.basename(name)}" for name in members.getnames()}


def check_load(
    newer: tuple[str, bool], directory: Path, path: bytes, image: Image, known: list[Loaded]
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
    result = engine.run_container(address, NAME, Run("x", (b"show",)), b"/app/show")
    assert (result.status, result.stdout) == (0, b"two")
    check_streams(address, tmp_path)


def test_a_newer_docker_gets_a_new_lowest_layer(
    newer: tuple[str, bool],
    tmp_path: Path,
    program: bytes,
    text: Text,
    sent: list[list[Digest]],
) -> None:
    address, containerd = newer
    first = engine.load(address, build(tmp_path, [text("one"), program])[0])
    path, image = build(tmp_path, [text("two"), program])

    check_load(newer, tmp_path, path, image, [first])

    assert [[], [image.layers[1].digest] if containerd else []] == sent


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
    newer: tuple[str, bool],
    tmp_path: Path,
    program: bytes,
    text: Text,
    sent: list[list[Digest]],
) -> None:
    address, _ = newer
    first = engine.load(address, build(tmp_path, [text("one"), program])[0])
    path, image = build(tmp_path, [text("two"), program])
    remove_blob(address, image.layers[1].digest)

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


# File capabilities


@pytest.mark.parametrize("program", ["/app/status", "/app/twin"])
def test_program_has_its_capabilities(
    address: str, tmp_path: Path, status: bytes, program: str
) -> None:
    engine.load(address, capable(tmp_path, status), [])

    assert effective(address, program) == ["CapEff:", f"{1 << 13:016x}"]


def test_program_has_its_capabilities_in_a_newer_engine(
    newer: tuple[str, bool], tmp_path: Path, status: bytes
) -> None:
    engine.load(newer[0], capable(tmp_path, status), [])

    for program in ("/app/status", "/app/twin"):
        assert effective(newer[0], program) == ["CapEff:", f"{1 << 13:016x}"]
    system = Unpacking(os.fsencode(tmp_path / "exported"), whole_system=True)
    system.unpack(engine.export(newer[0], NAME))
    assert system.capabilities == dict.fromkeys((b"/app/status", b"/app/twin"), "cap_net_raw=ep")


def test_program_has_its_capabilities_in_podman(tmp_path: Path, status: bytes) -> None:
    with podman(tmp_path) as address:
        engine.load(address, capable(tmp_path, status), [])
        for program in ("/app/status", "/app/twin"):
            assert effective(address, program) == ["CapEff:", f"{1 << 13:016x}"]
