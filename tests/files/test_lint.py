from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from examined import examine, write_elf
from scratch_image.files import lint
from scratch_image.files.entry import Entry
from scratch_image.files.finding import Examined, Finding, Rank
from scratch_image.fs.overlay import Overlay
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem
from scratch_image.trace.record import Use, Used


def _find(
    base: Path, *listed: str | Entry, uses: tuple[Used, ...] = (), presets: tuple[str, ...] = ()
) -> list[str]:
    return [*map(str, lint.find(examine(base, *listed, uses=uses, presets=presets)))]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name in ("dir/a", "dir/b", "dir/README.md", "puts", "data"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    write_elf(tmp_path / "daemon", "getpwnam")
    write_elf(tmp_path / "whoami", "getpwuid")
    write_elf(tmp_path / "git", "/usr/libexec/git")
    for name in "abcd":
        write_elf(tmp_path / "usr/libexec/git" / name)
    return tmp_path


def test_findings_come_once_and_ranked(base: Path) -> None:
    more = [Finding(Rank.REMARK, "a", "b", "c"), Finding(Rank.BROKEN, "x", "y", "z")]

    assert [*map(str, lint.find(examine(base), [*more, *more]))] == ["x: y; z", "a: b; c"]


LISTED = (
    "a file of /dir that no run opened: a run listed it, and the image has {} of its 3 entries; "
    "list /dir/*, or name it in IMAGE_LISTED"
)


@pytest.mark.parametrize(
    ("listed", "findings"),
    [
        pytest.param("/dir", [LISTED.format(0)], id="none"),
        pytest.param("/dir /dir/a", [LISTED.format(1)], id="some"),
        pytest.param("/dir /dir/a /dir/b", [], id="all of a kind"),
        pytest.param("/data", [], id="directory is left out"),
    ],
)  # fmt: skip
def test_listed_directories(base: Path, listed: str, findings: list[str]) -> None:
    uses = (Used(Use.LIST, b"/dir"), Used(Use.LIST, b"/proc"), Used(Use.READ, b"/dir/a"))

    assert _find(base, *listed.split(), uses=uses) == findings


@pytest.mark.parametrize(
    ("directory", "look"),
    [
        pytest.param("/usr/lib/python3.11/json", "/x", id="directory of packages"),
        pytest.param("/dir", "/dir/app.py", id="where a script lies"),
    ],
)  # fmt: skip
def test_interpreters_list_directories_to_take_one_module(
    base: Path, directory: str, look: str
) -> None:
    (base / directory[1:]).mkdir(parents=True, exist_ok=True)
    (base / directory[1:] / "x.py").write_text("")
    uses = (Used(Use.LIST, directory.encode()), Used(Use.READ, look.encode()))

    assert _find(base, directory, uses=uses) == []


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

    found = _find(base, "/daemon", *entries, presets=tuple(presets))

    assert found == [
        "the name of another account: a run read /etc/passwd, which the image has with root, n "
        "only; map a file with all accounts that /daemon looks up (passwd -> /etc/passwd), or "
        "name the preset passwd if these do"
    ] * told  # fmt: skip
    assert _find(base, *entries) == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        pytest.param("user www-data;", False, id="an account that is kept"),
        pytest.param("user root;", True, id="root"),
        pytest.param("# user www-data;", True, id="none"),
    ],
)
def test_accounts_of_settings_are_kept(base: Path, line: str, told: bool) -> None:
    (base / "etc").mkdir()
    (base / "etc/passwd").write_text("root:x:0:0::/:\nwww-data:x:33:33::/:\ngames:x:5:60::/:\n")
    (base / "etc/daemon.conf").write_text(line)
    kept = _account(b"root:x:0:0::/:\nwww-data:x:33:33::/:\n", "preset:passwd", "run:1")

    found = _find(base, "/daemon", "/etc/daemon.conf", *kept)

    assert len(found) == told


def test_names_of_users_need_an_account_file(base: Path) -> None:
    assert _find(base, "/whoami") == [
        "the name of a user or group: /whoami calls getpwuid, and the image has no /etc/passwd; "
        "add the preset passwd"
    ]
    assert _find(base, "/whoami", "/etc/passwd extra:x") == []


def test_a_directory_is_reported_once(base: Path) -> None:
    assert _find(base, "/git") == [
        "an argument that starts another program of /usr/libexec/git: the image has 0 of its 4; "
        "list /usr/libexec/git"
    ]


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
    skipped = [b"/" + os.fsencode(name) for name in names]

    assert [*map(str, lint.find(examine(base), skipped=skipped))] == told


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6755])
def test_set_id_files(base: Path, mode: int) -> None:
    image = examine(base, Entry("file", mode, 0, 0, b"/puts"), "/data")

    assert [*map(str, lint.find(image))] == [
        f"set-id files come into the image: /puts; list /puts mode=0755, or mode={mode:04o} to "
        "keep it, or leave it out (!/puts)"
    ]


ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, 4, 1000 if tag == 2 else 0xFFFFFFFF) for tag in (1, 2, 4, 16, 32)
)
"""User 1000 may read, and everybody else may, too (acl(5), and linux/posix_acl_xattr.h)."""


def test_access_control_lists(base: Path) -> None:
    for name in ("data", "dir"):
        os.setxattr(base / name, "system.posix_acl_access", ACL)

    assert _find(base, "/data", "/puts", "/dir") == [
        "access control lists stay out of the image: /data, /dir; give what they grant by mode= "
        "and owner= in an extra list"
    ]


def test_modes_that_a_list_names_are_meant(base: Path) -> None:
    os.setxattr(base / "data", "system.posix_acl_access", ACL)
    view = Overlay(Root(WatchedFileSystem(os.fsencode(base))), b"/project")
    view.change(b"/data", 0o4755, None)
    entries = (Entry("file", 0o4755, 0, 0, b"/data"),)

    assert lint.find(Examined(view, entries)) == ()


def test_looks_go_on_the_record_of_a_view(base: Path) -> None:
    view = Overlay(Root(WatchedFileSystem(os.fsencode(base))), b"/project")
    entries = (Entry("file", 0o644, 0, 0, b"/daemon"),)

    lint.find(Examined(view.files, entries))
    assert view.looked == view.below.looked == set()

    lint.find(Examined(view, entries))
    assert (b"/daemon", Aspect.CONTENT) in view.below.looked
