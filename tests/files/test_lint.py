from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from scratch_image.files import lint
from scratch_image.files.entry import Entry
from scratch_image.fs.overlay import Overlay
from scratch_image.fs.root import Aspect, Root
from scratch_image.trace.record import Record, Use, Used


def _entries(*paths: str) -> list[Entry]:
    return [Entry("file", 0o644, 0, 0, os.fsencode(path)) for path in paths]


def _find(
    base: Path, entries: list[Entry], *uses: Used, more: list[str] | None = None
) -> list[str]:
    view = Overlay(Root(os.fsencode(base)), b"/project")
    return list(lint.find(view.files, entries, [Record(uses)], more or ()))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name in ("pthread_cancel", "getaddrinfo", "iconv_open", "puts"):
        (tmp_path / name).write_bytes(b"\x7fELF\0%s\0" % name.encode())
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/libc.so.6").write_bytes(b"\x7fELF\0getaddrinfo\0")
    (tmp_path / "data").write_bytes(b"\0getaddrinfo\0")
    (tmp_path / "usr/lib/libssl.so.3").write_text("")
    (tmp_path / "client").write_bytes(b"\x7fELF\0SSL_CTX_set_default_verify_paths\0")
    for name in ("dir/a", "dir/b"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("paths", "findings"),
    [
        pytest.param(["/pthread_cancel"],
                     ["/pthread_cancel calls pthread_cancel, which needs libgcc_s.so.1; "
                      "list /usr/lib/libgcc_s.so.1"], id="threads"),
        pytest.param(["/pthread_cancel", "/x/libgcc_s.so.1"], [], id="threads with libgcc"),
        pytest.param(["/getaddrinfo"],
                     ["/getaddrinfo calls getaddrinfo, which needs nsswitch.conf; "
                      "add the preset nss"], id="names of hosts"),
        pytest.param(["/getaddrinfo", "/etc/nsswitch.conf"], [], id="names with NSS"),
        pytest.param(["/iconv_open"],
                     ["/iconv_open calls iconv_open, which needs gconv; list /usr/lib/gconv"],
                     id="encodings"),
        pytest.param(["/puts", "/data"], [], id="nothing of these"),
        pytest.param(["/usr/lib/libssl.so.3", "/client"],
                     ["/client finds no certificates; add the preset ca-certificates"],
                     id="TLS"),
    ],
)  # fmt: skip
def test_findings(base: Path, paths: list[str], findings: list[str]) -> None:
    (base / "etc").mkdir()
    (base / "x").mkdir()
    for path in paths:
        if not (base / path[1:]).exists():
            (base / path[1:]).write_text("")

    assert _find(base, _entries("/usr/lib/libc.so.6", *paths)) == findings


def test_program_without_glibc_calls_none_of_its_functions(base: Path) -> None:
    assert _find(base, _entries("/getaddrinfo")) == []


@pytest.mark.parametrize(
    ("paths", "use", "findings"),
    [
        pytest.param([], Used(Use.ABSENT, b"/etc/localtime"), 1, id="localtime"),
        pytest.param([], Used(Use.ABSENT, b"/usr/share/zoneinfo/Europe/Oslo"), 1, id="TZ"),
        pytest.param(["/usr/share/zoneinfo/UTC"], Used(Use.ABSENT, b"/etc/localtime"), 0,
                     id="zone is there"),
    ],
)  # fmt: skip
def test_time_zones(base: Path, paths: list[str], use: Used, findings: int) -> None:
    assert (
        _find(base, _entries(*paths), use)
        == ["a run looked for its time zone; add the preset tzdata"] * findings
    )


@pytest.mark.parametrize(
    ("paths", "findings"),
    [
        pytest.param(["/dir", "/dir/a"],
                     ["a run listed /dir, 1 of whose 2 entries are in the image; "
                      "list /dir/*, or name it in IMAGE_LISTED"], id="some"),
        pytest.param(["/dir", "/dir/a", "/dir/b"], [], id="all"),
        pytest.param([], [], id="directory is left out"),
    ],
)  # fmt: skip
def test_listed_directories(base: Path, paths: list[str], findings: list[str]) -> None:
    entries = [Entry("dir", 0o755, 0, 0, os.fsencode(path)) for path in paths]

    uses = [Used(Use.LIST, b"/dir"), Used(Use.LIST, b"/proc"), Used(Use.READ, b"/dir/a")]

    assert _find(base, entries, *uses) == findings


def _account(text: bytes, *reasons: str, source: bytes = b"") -> list[Entry]:
    return [Entry("file", 0o644, 0, 0, b"/etc/passwd", b"", reasons, source, text)]


@pytest.mark.parametrize(
    ("entries", "presets", "told"),
    [
        pytest.param(_account(b"root:x:0:0::/:\nn:x:1:1::/:\n", "preset:passwd", "run:1"), [], True,
                     id="written anew"),
        pytest.param(_account(b"root:x:0:0::/:\nn:x:1:1::/:\n", "preset:passwd", "run:1"),
                     ["passwd"], False, id="the preset is named"),
        pytest.param(_account(b"root:x:0:0::/:\nn:x:1:1::/:\n", "preset:passwd"), [], False,
                     id="no run read it"),
        pytest.param(_account(b"n:::\nroot:::\nwww-data:::\n", "preset:passwd", "run:1"), [], False,
                     id="no account is lost"),
        pytest.param(_account(b"", "extra:x", "run:1", source=b"passwd"), [], False, id="mapped"),
    ],
)  # fmt: skip
def test_accounts(base: Path, entries: list[Entry], presets: list[str], told: bool) -> None:
    (base / "etc").mkdir()
    (base / "etc/passwd").write_text("root:x:0:0:r:/root:/bin/sh\nwww-data:x:33:33:::\n")
    view = Overlay(Root(os.fsencode(base)), b"/project")

    assert list(lint.find(view, entries, [], presets=presets)) == [
        "a run read /etc/passwd, which the image has with root, n only; map a file with all "
        "accounts that it looks up (passwd -> /etc/passwd), or name the preset passwd if these do"
    ] * told  # fmt: skip


@pytest.mark.parametrize(
    ("names", "told"),
    [
        pytest.param([], [], id="none"),
        pytest.param(["a"], ["no image has devices, FIFOs and sockets: /a; leave them out of the "
                             "list (!/a)"], id="one"),
        pytest.param(["a", "b", "c", "d", "e"],
                     ["no image has devices, FIFOs and sockets: /a, /b, /c and 2 more; leave them "
                      "out of the list (!/a)"], id="many"),
    ],
)  # fmt: skip
def test_devices_fifos_and_sockets(base: Path, names: list[str], told: list[str]) -> None:
    view = Overlay(Root(os.fsencode(base)), b"/project")

    assert list(lint.find(view, [], [], skipped=[b"/" + os.fsencode(n) for n in names])) == told


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6755])
def test_set_id_files(base: Path, mode: int) -> None:
    view = Overlay(Root(os.fsencode(base)), b"/project")
    entries = [Entry("file", mode, 0, 0, b"/puts"), *_entries("/data")]

    assert list(lint.find(view, entries, [])) == [
        f"set-id files come into the image: /puts; list /puts mode=0755, or mode={mode:04o} to "
        "keep it, or leave it out (!/puts)"
    ]
    view.change(b"/puts", mode, None)
    assert list(lint.find(view, entries, [])) == []


ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, 4, 1000 if tag == 2 else 0xFFFFFFFF) for tag in (1, 2, 4, 16, 32)
)
"""User 1000 may read, and everybody else may, too (acl(5), and linux/posix_acl_xattr.h)."""


def test_access_control_lists(base: Path) -> None:
    for name in ("data", "dir"):
        os.setxattr(base / name, "system.posix_acl_access", ACL)
    view = Overlay(Root(os.fsencode(base)), b"/project")
    entries = [*_entries("/data", "/puts"), Entry("dir", 0o755, 0, 0, b"/dir")]

    assert list(lint.find(view, entries, [])) == [
        "access control lists stay out of the image: /data, /dir; give what they grant by mode= "
        "and owner= in an extra list"
    ]
    assert (b"/dir", Aspect.ACL) in view.below.looked
    for path in (b"/data", b"/dir"):
        view.change(path, 0o644, None)
    assert list(lint.find(view, entries, [])) == []


def test_ten_findings_are_told(base: Path) -> None:
    more = [f"finding {at:02}" for at in range(13)]

    assert _find(base, [], more=more[::-1]) == [*more[:10], "and 3 findings more"]


def test_looks_are_on_no_record(base: Path) -> None:
    view = Overlay(Root(os.fsencode(base)), b"/project")

    lint.find(view.files, _entries("/usr/lib/libc.so.6", "/getaddrinfo"), [])

    assert view.looked == view.below.looked == set()
