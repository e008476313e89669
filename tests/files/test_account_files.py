from __future__ import annotations

import os
from pathlib import Path

import pytest
from lists import a_view
from scratch_image.errors import ListError
from scratch_image.files.account_files import (
    all_accounts,
    find_names,
    kept_accounts,
    write_account_files,
)
from scratch_image.files.entry import Entry
from scratch_image.fs.accounts import ACCOUNTS
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem

PASSWD = """\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1::/:
mail:x:8:8::/:
www-data:x:33:33::/:
sshd:x:106:65534::/run/sshd:/usr/sbin/nologin
postgres:x:110:118:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash
me:x:1000:1000:Me Myself,,,:/home/me:/bin/bash
nobody:x:65534:65534::/:
"""
GROUP = """\
root:x:0:
adm:x:4:me,www-data
www-data:x:33:
ssl-cert:x:117:postgres,me
postgres:x:118:
me:x:1000:
nogroup:x:65534:
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    return tmp_path


LOOKUP = b"\x7fELF..\0getpwnam\0"


@pytest.mark.parametrize(
    ("content", "names"),
    [
        pytest.param(LOOKUP + b"sshd\0", "sshd", id="string of a program"),
        pytest.param(LOOKUP + b"/sbin/sshd\0", "sshd", id="string within another one"),
        pytest.param(LOOKUP + b"opensshd\0sshd: \0", "", id="part of a string"),
        pytest.param(b"\x7fELF..\0sshd\0", "", id="program that looks nothing up"),
        pytest.param(LOOKUP + b"mail\0daemon\0", "", id="words of any program"),
        pytest.param(LOOKUP + b"me\0", "", id="person"),
        pytest.param(LOOKUP + b"adm\0", "adm", id="group"),
        pytest.param(b"user www-data;\n", "www-data", id="nginx"),
        pytest.param(b"user  www-data adm;\n", "adm www-data", id="nginx with a group"),
        pytest.param(b"  listen.owner = www-data\n", "www-data", id="PHP"),
        pytest.param(b"export APACHE_RUN_USER=www-data\n", "www-data", id="Apache"),
        pytest.param(b"<user>mail</user>\n", "mail", id="D-Bus"),
        pytest.param(b"$PrivDropToUser daemon\n", "daemon", id="rsyslog"),
        pytest.param(b'server.username = "www-data"\n', "www-data", id="lighttpd"),
        pytest.param(b"-u postgres\n", "postgres", id="memcached"),
        pytest.param(b"chown=www-data:adm\n", "adm www-data", id="supervisor"),
        pytest.param(b"user me;\n", "me", id="person that settings name"),
        pytest.param(b"# user www-data;\n ; user=adm\n// user mail\n", "", id="comments"),
        pytest.param(b"root /srv/mail;\nindex www-data;\n", "", id="other lines"),
        pytest.param(b"\0user www-data\n", "", id="no text"),
        pytest.param(b"", "", id="empty"),
    ],
)
def test_names_in_a_file(base: Path, content: bytes, names: str) -> None:
    (base / "x").write_bytes(content)
    files = Root(WatchedFileSystem(os.fsencode(base))).files

    found = find_names(files, b"/x", all_accounts(files))

    assert b" ".join(found).decode() == names


def _entry(path: str, mode: int = 0o644) -> Entry:
    return Entry("file", mode, 0, 0, os.fsencode(path), b"", ("run:default",))


def _texts(base: Path, *entries: Entry, user: str = "", named: bytes = b"") -> dict[str, str]:
    view = a_view(base)
    paths = [*write_account_files(view, entries, user, [named], ACCOUNTS)]
    return {
        os.path.basename(path).decode(): view.files.placed[path].text.decode() for path in paths
    }


def test_account_of_a_program_stays_with_its_groups(base: Path) -> None:
    (base / "sshd").write_bytes(LOOKUP + b"sshd\0")
    (base / "libc.so.6").write_bytes(LOOKUP + b"postgres\0")

    texts = _texts(base, _entry("/sshd", 0o755), _entry("/libc.so.6", 0o755))

    assert texts["passwd"] == (
        "root:x:0:0::/:/sbin/nologin\nsshd:x:106:65534::/:/sbin/nologin\n"
        "nobody:x:65534:65534::/:/sbin/nologin\n"
    )
    assert texts["group"] == "root:x:0:\nnogroup:x:65534:\n"


def test_settings_name_accounts_and_data_does_not(base: Path) -> None:
    for name in ("etc/web", "web.conf", "data"):
        (base / name).write_text("user postgres;\n")

    for name in ("/etc/web", "/web.conf"):
        assert "postgres:x:110:118::/:/sbin/nologin\n" in _texts(base, _entry(name))["passwd"]
        assert "ssl-cert:x:117:postgres\n" in _texts(base, _entry(name))["group"]
    assert "postgres" not in _texts(base, _entry("/data"))["passwd"]


def test_account_of_a_command_stays(base: Path) -> None:
    assert "sshd:x:106" in _texts(base, named=b"sshd")["passwd"]
    assert "adm:x:4:\n" in _texts(base, named=b"adm")["group"]
    assert _texts(base, named=b"unknown") == _texts(base)


def test_names_in_files_are_on_record(base: Path) -> None:
    (base / "sshd").write_bytes(LOOKUP)
    view = a_view(base)

    list(write_account_files(view, [_entry("/sshd", 0o755)], "", (), ACCOUNTS))

    assert (b"/sshd", Aspect.ACCOUNTS) in view.looked
    assert (b"/sshd", Aspect.CONTENT) not in view.looked


def test_account_that_is_there_twice(base: Path) -> None:
    with (base / "etc/passwd").open("a") as accounts:
        accounts.write("www-data:x:33:33::/:\npostgres:x:1110:118::/:\n")

    assert "www-data:x:33:33" in _texts(base, user="www-data")["passwd"]
    with pytest.raises(ListError) as error:
        _texts(base, user="postgres")

    assert str(error.value) == (
        "cannot write /etc/passwd: account postgres is there twice, as 110 and as 1110; "
        "remove one of the lines, or map a file of the project to it"
    )


def test_kept_accounts_are_those_of_written_files() -> None:
    entries = [
        Entry("file", 0o644, 0, 0, path, b"", ("preset:passwd",), b"", text)
        for path, text in zip(
            ACCOUNTS, (b"root:x:0:0::/:\napp:x:7:8::/:\n", b"root:x:0:\nlog:x:8:\n"), strict=True
        )
    ]

    assert kept_accounts(entries) == ("root", "app", "log")
    assert kept_accounts([_entry("/etc/passwd")]) == ()
