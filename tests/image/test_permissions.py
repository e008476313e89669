from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from scratch_image.errors import InputError
from scratch_image.fs.root import Root
from scratch_image.image import permissions, tar_header
from scratch_image.image.permissions import User
from scratch_image.image.rootfs import Contents
from scratch_image.image.settings import Settings
from scratch_image.trace.record import Record, Use, Used

PASSWD = b"root:x:0:0::/:/bin/sh\nbroken\napp:x:900:901::/:\nodd:x:77:x::/:\n"
GROUP = b"root:x:0:\napp:x:901:\nlogs:x:4:me,app\nnone:x:5:\n"


def _file(path: str, mode: int, uid: int = 0, gid: int = 0, text: bytes = b"") -> bytes:
    head = tar_header.format_header(path.encode(), mode=mode, uid=uid, gid=gid, size=len(text))
    return head + text + tar_header.padding(len(text))


def _directory(path: str, mode: int, uid: int = 0, gid: int = 0) -> bytes:
    return tar_header.format_header(
        f"{path}/".encode(), tar_header.DIR, mode=mode, uid=uid, gid=gid
    )


def _link(path: str, target: str) -> bytes:
    return tar_header.format_header(
        path.encode(), tar_header.LINK, mode=0o777, link=target.encode()
    )


def _contents(*members: bytes) -> Contents:
    found = Contents()
    accounts = (_file("etc/passwd", 0o644, text=PASSWD), _file("etc/group", 0o644, text=GROUP))
    found.add(iter([*accounts, *members, tar_header.END]))
    return found


@pytest.mark.parametrize(
    ("named", "uid", "gid", "groups"),
    [
        pytest.param("", 0, 0, {0}, id="nobody is named"),
        pytest.param("root", 0, 0, {0}, id="root"),
        pytest.param("app", 900, 901, {901, 4}, id="name"),
        pytest.param("900", 900, 901, {901, 4}, id="known number"),
        pytest.param("1000", 1000, 0, {0}, id="unknown number"),
        pytest.param("app:none", 900, 5, {5}, id="name and group"),
        pytest.param("app:0", 900, 0, {0}, id="name and number of a group"),
        pytest.param("65532:65532", 65532, 65532, {65532}, id="numbers"),
        pytest.param("odd", 77, 0, {0}, id="group that is no number"),
    ],
)
def test_user(named: str, uid: int, gid: int, groups: set[int]) -> None:
    assert User.find(_contents(), named) == User(uid, gid, frozenset(groups))


OWNERS = [(0, 0), (1000, 0), (0, 7), (0, 8), (1000, 7)]
MODES = [0o700, 0o070, 0o007, 0o444, 0o404, 0o050, 0o111, 0o600, 0o000]

TRY = """
import json, os, sys
print(json.dumps([[os.access(path, os.R_OK), os.access(path, os.X_OK)] for path in sys.argv[1:]]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_verdict_is_the_kernels(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    paths = []
    for kind in ("file", "dir"):
        for uid, gid in OWNERS:
            for mode in MODES:
                path = tmp_path / f"{kind}-{uid}-{gid}-{mode:o}"
                path.mkdir() if kind == "dir" else path.write_text("")
                os.chown(path, uid, gid)
                path.chmod(mode)
                paths.append(path)
    user = User(1000, 7, frozenset({7, 8}))
    command = [sys.executable, "-I", "-S", "-c", TRY, *map(str, paths)]
    ran = subprocess.run(
        command, user=1000, group=7, extra_groups=[8], stdout=subprocess.PIPE, check=True
    )

    root = Root()
    for path, verdict in zip(paths, json.loads(ran.stdout), strict=True):
        status = root.status(os.fsencode(path))
        assert status is not None
        assert [user.may(status, bit) for bit in (4, 1)] == verdict, path


SYSTEM = (
    _directory("open", 0o755),
    _file("open/closed", 0o600),
    _file("open/grouped", 0o640, 0, 7),
    _file("open/own", 0o400, 1000),
    _file("open/program", 0o700),
    _directory("shut", 0o700),
    _file("shut/readable", 0o644),
    _directory("sealed", 0o711),
    _link("link", "shut/readable"),
    _file("bin/start", 0o755),
    _file("bin/roots", 0o744),
)


def _told(settings: Settings, *uses: Used) -> str:
    """Return what is wrong; nothing when all is right."""
    try:
        permissions.require(_contents(*SYSTEM), settings, {"default": Record(uses)})
    except InputError as error:
        return str(error).removeprefix("cannot run the image as '1000:7': it may not ")
    return ""


@pytest.mark.parametrize(
    ("use", "path", "told"),
    [
        pytest.param(Use.READ, b"/open/closed",
                     "read /open/closed (mode 0600, owner 0:0) for run default; add to an extra "
                     "list: /open/closed owner=1000:7, or leave it out: !/open/closed", id="file"),
        pytest.param(Use.EXEC, b"/open/program",
                     "execute /open/program (mode 0700, owner 0:0) for run default; add to an extra "
                     "list: /open/program owner=1000:7, or leave it out: !/open/program",
                     id="program"),
        pytest.param(Use.LIST, b"/sealed",
                     "list /sealed (mode 0711, owner 0:0) for run default; add to an extra list: "
                     "dir /sealed mode=0711 owner=1000:7, or leave it out: !/sealed",
                     id="listed directory"),
        *(pytest.param(use, path,
                       "search /shut (mode 0700, owner 0:0) for run default; add to an extra list: "
                       "dir /shut mode=0700 owner=1000:7, or leave it out: !/shut", id=name)
          for use, path, name in ((Use.READ, b"/shut/readable", "in a closed directory"),
                                  (Use.STAT, b"/shut/readable", "looked at in a closed directory"),
                                  (Use.READ, b"/link", "behind a link"))),
        pytest.param(Use.LINK, b"/link", "", id="link"),
        pytest.param(Use.STAT, b"/open/closed", "", id="looked at"),
        pytest.param(Use.STAT, b"/shut", "", id="closed directory that is looked at"),
        pytest.param(Use.WRITE, b"/open/closed", "", id="written"),
        pytest.param(Use.ABSENT, b"/shut/none", "", id="absent"),
        pytest.param(Use.READ, b"/gone", "", id="left out"),
        pytest.param(Use.READ, b"/open/grouped", "", id="of a group"),
        pytest.param(Use.READ, b"/open/own", "", id="own"),
        pytest.param(Use.LIST, b"/open", "", id="open directory"),
    ],
)  # fmt: skip
def test_use_of_a_path(use: Use, path: bytes, told: str) -> None:
    assert _told(Settings(user="1000:7"), Used(use, path)) == told
    assert _told(Settings(user="root"), Used(use, path)) == ""


def test_program_that_the_user_may_not_start() -> None:
    settings = Settings(user="1000:7", cmd=["start"], entrypoint=["/bin/roots"])

    assert _told(settings) == (
        "execute /bin/roots (mode 0744, owner 0:0) for IMAGE_ENTRYPOINT; add to an extra list: "
        "/bin/roots owner=1000:7, or leave it out: !/bin/roots"
    )
    assert _told(Settings(user="1000:7", entrypoint=["/bin/start"])) == ""


def test_many_paths_are_counted() -> None:
    members = [_file(f"{number}", 0o600) for number in range(7)]
    uses = tuple(Used(Use.READ, b"/%d" % number) for number in range(7))

    with pytest.raises(InputError) as error:
        permissions.require(_contents(*members), Settings(user="1000"), {"a": Record(uses)})

    assert "read /4 (mode 0600, owner 0:0) for run a, and 2 paths more; add to" in str(error.value)


def test_two_runs_name_a_path_once() -> None:
    record = Record((Used(Use.READ, b"/open/closed"),))

    with pytest.raises(InputError) as error:
        permissions.require(_contents(*SYSTEM), Settings(user="1"), {"b": record, "a": record})

    assert str(error.value).count("/open/closed (mode") == 1
    assert "for run a; " in str(error.value)
