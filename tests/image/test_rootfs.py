from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from scratch_image.errors import InputError
from scratch_image.fs.lookup import FileKind
from scratch_image.image import compression, layer, tar_header
from scratch_image.image.rootfs import Contents
from scratch_image.image.settings import HealthCheck, Settings
from tars import member, packed

DIR, LINK, HARD = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE

SYSTEM = (
    member("bin", LINK, "usr/bin"),
    member("etc/", DIR),
    member("usr/bin/", DIR),
    member("usr/bin/hello"),
    member("usr/bin/hi", HARD, "usr/bin/hello"),
    member("usr/bin/sh", LINK, "/bin/hello"),
    member("usr/bin/loop", LINK, "loop"),
    member("usr/bin/notes", mode=0o644),
    member("dev/null", tarfile.CHRTYPE),
)


def _account_file(name: str, text: bytes) -> bytes:
    return (
        tar_header.format_header(name.encode(), size=len(text))
        + text
        + tar_header.padding(len(text))
    )


def _contents(*members: bytes) -> Contents:
    found = Contents()
    found.add(iter([*members, b"", tar_header.END]))
    return found


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", FileKind.DIR),
        ("/usr", FileKind.DIR),
        ("/usr/bin", FileKind.DIR),
        ("/bin", FileKind.LINK),
        ("/usr/bin/hello", FileKind.FILE),
        ("/usr/bin/hi", FileKind.FILE),
        ("/dev/null", FileKind.OTHER),
        ("/usr/bin/none", None),
    ],
)
def test_kinds(path: str, kind: FileKind | None) -> None:
    found = _contents(*SYSTEM).status(path.encode())
    assert kind is (found and found.kind)


def test_a_hard_link_to_nothing() -> None:
    found = _contents(member("x", HARD, "y")).status(b"/x")
    assert found is not None
    assert found.kind is FileKind.OTHER


@pytest.mark.parametrize("suffix", sorted(compression.MEDIA_TYPES))
def test_a_layer_is_read_and_hashed_at_once(tmp_path: Path, suffix: str) -> None:
    path = packed(tmp_path, *SYSTEM, suffix=suffix)
    found = Contents()
    assert layer.read(path, found.add) == layer.read(path)
    assert found.walk(b"/bin/sh").real == b"/usr/bin/hello"


@pytest.mark.parametrize(
    "data",
    [b"no tar" * 200, SYSTEM[0][:100], member("x", uid=1 << 40, size=1 << 20)],
    ids=["text", "cut", "gap"],
)
def test_file_that_is_not_a_tar(tmp_path: Path, data: bytes) -> None:
    chunks = iter([data, b"rest"])
    with pytest.raises(ValueError, match=r"^it is not a whole tar \("):
        Contents().add(chunks)
    assert list(chunks) == []
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(InputError) as caught:
        layer.read(bytes(tmp_path / "x.tar"), Contents().add)
    assert str(caught.value).startswith(f"cannot read layer {tmp_path}/x.tar: it is not a whole ")


PLAIN = tar_header.format_header(b"etc/a", size=3, mtime=7) + b"abc" + tar_header.padding(3)
PASSWD = _account_file("etc/passwd", b"app:x:7:7::/:\n")


def test_an_account_file_is_not_read_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scratch_image.image.rootfs._MAX_ACCOUNTS", 5)
    found = _contents(PASSWD, PLAIN)
    assert found._accounts == {b"/etc/passwd": b"app:x"}
    assert found.status(b"/etc/a") is not None


def test_more_members_than_any_image_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scratch_image.image.rootfs._MAX_PATHS", 8)
    with pytest.raises(ValueError, match=r"^it has more than 8 members$"):
        _contents(*SYSTEM)


ENV = {"PATH": "/nowhere::/bin"}
ACCOUNTS = (
    _account_file("etc/passwd", b"root:x:0:0::/:\napp:x:7:7::/:\n"),
    _account_file("etc/group", b"root:x:0:\nlogs:x:4:\n"),
)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(Settings(), id="nothing"),
        pytest.param(Settings(entrypoint=["/usr/bin/hello"]), id="path"),
        pytest.param(Settings(entrypoint=["/bin/sh"], cmd=["/none"]), id="links and an argument"),
        pytest.param(Settings(cmd=["hi"], env=ENV), id="by PATH"),
        pytest.param(Settings(cmd=["./hello"], workdir="/usr/bin"), id="by working directory"),
        pytest.param(Settings(workdir="/srv", volumes=["/data", "/etc"]), id="directories to be"),
        pytest.param(Settings(user="7:4"), id="numbers"),
        pytest.param(Settings(user="nonroot:9"), id="nonroot is a number"),
        pytest.param(Settings(user="app:logs"), id="names"),
    ],
)
def test_a_container_that_can_start(settings: Settings) -> None:
    _contents(*SYSTEM, *ACCOUNTS).require(settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param(
            Settings(entrypoint=["/usr/bin/none", "x"]),
            "cannot start '/usr/bin/none' of IMAGE_ENTRYPOINT: the image does not have it; "
            "add it, or name another one",
            id="entrypoint",
        ),
        pytest.param(
            Settings(cmd=["none"], env=ENV),
            "cannot start 'none' of IMAGE_CMD: the image does not have it on its PATH; "
            "add it, or name another one",
            id="command",
        ),
        pytest.param(
            Settings(cmd=["hello"]),
            "cannot start 'hello' of IMAGE_CMD: the image does not have it on its PATH; "
            "add it, or name another one",
            id="no PATH",
        ),
        pytest.param(
            Settings(health_check=HealthCheck(["/usr/bin/notes"])),
            "cannot start '/usr/bin/notes' of IMAGE_HEALTHCHECK: it is not an executable file; "
            "add it, or name another one",
            id="health check",
        ),
        pytest.param(
            Settings(cmd=["/usr/bin"]),
            "cannot start '/usr/bin' of IMAGE_CMD: it is not an executable file; "
            "add it, or name another one",
            id="directory",
        ),
        pytest.param(
            Settings(cmd=["/bin/loop"]),
            "cannot start '/bin/loop' of IMAGE_CMD: the image does not have it; "
            "add it, or name another one",
            id="link to itself",
        ),
        pytest.param(
            Settings(workdir="/bin/hello"),
            "cannot use '/bin/hello' of the image as a directory: it is a file there; "
            "name another one",
            id="working directory",
        ),
        pytest.param(
            Settings(volumes=["/data", "/dev/null"]),
            "cannot use '/dev/null' of the image as a directory: it is a file there; "
            "name another one",
            id="volume",
        ),
        pytest.param(
            Settings(user="logs"),
            "cannot run the image as 'logs': its /etc/passwd has no such one; "
            "write a number, or add it there",
            id="user",
        ),
        pytest.param(
            Settings(user="app:app"),
            "cannot run the image as 'app': its /etc/group has no such one; "
            "write a number, or add it there",
            id="group",
        ),
    ],
)
def test_a_container_that_cannot_start(settings: Settings, message: str) -> None:
    with pytest.raises(InputError) as caught:
        _contents(*SYSTEM, *ACCOUNTS).require(settings)
    assert message == str(caught.value)


def test_an_image_without_account_files() -> None:
    with pytest.raises(
        InputError, match=r"^cannot run the image as 'root': its /etc/passwd has no"
    ):
        _contents().require(Settings(user="root"))
