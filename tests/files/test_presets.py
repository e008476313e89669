from __future__ import annotations

import os
from pathlib import Path

import pytest
from scratch_image.errors import InputError, ListError
from scratch_image.files import imports, presets
from scratch_image.files.entry import Entry
from scratch_image.files.merge import merge
from scratch_image.files.presets import ListedImage
from scratch_image.files.request import Request
from scratch_image.fs.overlay import Overlay
from scratch_image.fs.root import Root, WatchedFileSystem
from scratch_image.image.settings import PRESETS

FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n"
    "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
    "www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n"
    "app:x:900:901:App:/srv:/bin/sh\n"
    "me:x:1000:1000:Me Myself,,,:/home/me:/bin/bash\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    "broken\n",
    "etc/group": "root:x:0:\nwww-data:x:33:me\napp:x:901:\nlogs:x:4:me,app\nme:x:1000:\n",
    "etc/ssl/certs/ca-certificates.crt": "bundle",
    "etc/ssl/openssl.cnf": "cnf",
    "etc/localtime": "zone",
    "etc/services": "services",
    "usr/lib/ssl/misc/x": "",
    "usr/share/zoneinfo/UTC": "zone",
    "usr/share/zoneinfo/Europe/Oslo": "zone",
    "usr/share/zoneinfo/posix/UTC": "zone",
    "usr/share/zoneinfo/right/UTC": "zone",
    "usr/lib/locale/C.utf8/LC_CTYPE": "",
    "usr/lib/locale/de_DE.utf8/LC_CTYPE": "",
    "usr/lib/libc.so.6": "libc",
    "usr/lib/libnss_dns.so.2": "dns",
    "usr/lib/libssl.so.3": "\x7fELF SSL_CTX_set_default_verify_paths",
    "usr/bin/client": "\x7fELF SSL_CTX_set_default_verify_paths",
    "usr/bin/server": "\x7fELF SSL_CTX_use_certificate",
    "usr/bin/script": "SSL_CTX_set_default_verify_paths",
}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def _entry(path: bytes, uid: int = 0, gid: int = 0, reason: str = "run:1") -> Entry:
    return Entry("file", 0o644, uid, gid, path, reasons=(reason,))


LIBRARY, CLIENT = _entry(b"/usr/lib/libssl.so.3"), _entry(b"/usr/bin/client")


def _listed(base: Path, names: list[str], image: ListedImage) -> dict[str, Entry]:
    """Return what the presets list, but for directories, by path."""
    view = Overlay(Root(WatchedFileSystem(os.fsencode(base))), b"/project")
    wants = list(presets.requests(view, image, names))
    entries = merge(view, wants)
    return {os.fsdecode(entry.path): entry for entry in entries if entry.reasons != ("parent",)}


@pytest.mark.parametrize(
    ("name", "image", "paths"),
    [
        pytest.param("ca-certificates", ListedImage(()),
                     ["/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/openssl.cnf",
                      "/usr/lib/ssl/cert.pem"], id="ca-certificates"),
        pytest.param("tzdata", ListedImage(()),
                     ["/etc/localtime", "/usr/share/zoneinfo", "/usr/share/zoneinfo/Europe",
                      "/usr/share/zoneinfo/Europe/Oslo", "/usr/share/zoneinfo/UTC"], id="tzdata"),
        pytest.param("tmp", ListedImage(()), ["/tmp", "/var/tmp"], id="tmp"),
        pytest.param("nss", ListedImage((_entry(b"/usr/lib/libc.so.6"),)),
                     ["/etc/nsswitch.conf", "/etc/services", "/usr/lib/libnss_dns.so.2"], id="nss"),
        pytest.param("locale", ListedImage(()),
                     ["/usr/lib/locale/C.utf8", "/usr/lib/locale/C.utf8/LC_CTYPE"], id="locale"),
        pytest.param("locale", ListedImage((), locales=("de_DE.UTF-8", "C.UTF-8", "C")),
                     ["/usr/lib/locale/C.utf8", "/usr/lib/locale/C.utf8/LC_CTYPE",
                      "/usr/lib/locale/de_DE.utf8", "/usr/lib/locale/de_DE.utf8/LC_CTYPE"],
                     id="locale of the environment"),
        pytest.param("passwd", ListedImage(()), ["/etc/group", "/etc/passwd"], id="passwd"),
    ],
)  # fmt: skip
def test_preset_brings(base: Path, name: str, image: ListedImage, paths: list[str]) -> None:
    listed = _listed(base, [name], image)

    assert list(listed) == paths
    assert all(
        entry.reasons[0].startswith((f"preset:{name}", "target-of:")) for entry in listed.values()
    )


def test_anybody_may_write_to_tmp(base: Path) -> None:
    assert {entry.mode for entry in _listed(base, ["tmp"], ListedImage(())).values()} == {0o1777}


def test_openssl_finds_the_bundle(base: Path) -> None:
    link = _listed(base, ["ca-certificates"], ListedImage(()))["/usr/lib/ssl/cert.pem"]

    assert (link.kind, link.target) == ("link", b"/etc/ssl/certs/ca-certificates.crt")


def test_locale_may_lie_in_the_archive(base: Path) -> None:
    (base / "usr/lib/locale/locale-archive").write_text("")

    assert "/usr/lib/locale/locale-archive" in _listed(
        base, ["locale"], ListedImage((), locales=("nb_NO",))
    )


PASSWD = "root:x:0:0::/:/sbin/nologin\n{}nobody:x:65534:65534::/:/sbin/nologin\n"


@pytest.mark.parametrize(
    ("image", "passwd", "group"),
    [
        pytest.param(ListedImage(()), PASSWD.format(""), "root:x:0:\n", id="nobody else"),
        pytest.param(ListedImage((_entry(b"/x", 33, 4),)),
                     PASSWD.format("www-data:x:33:33::/:/sbin/nologin\n"),
                     "root:x:0:\nlogs:x:4:\nwww-data:x:33:\n", id="owners"),
        pytest.param(ListedImage((), user="app"), PASSWD.format("app:x:900:901::/:/sbin/nologin\n"),
                     "root:x:0:\nlogs:x:4:app\napp:x:901:\n", id="user of the image"),
        pytest.param(ListedImage((), user="900:logs"), PASSWD.format("app:x:900:901::/:/sbin/nologin\n"),
                     "root:x:0:\nlogs:x:4:app\napp:x:901:\n", id="number and group"),
        pytest.param(ListedImage((), user="nonroot"),
                     PASSWD.format("nonroot:x:65532:65532::/:/sbin/nologin\n"),
                     "root:x:0:\nnonroot:x:65532:\n", id="nonroot"),
        pytest.param(ListedImage((), user="nonroot:logs"),
                     PASSWD.format("nonroot:x:65532:65532::/:/sbin/nologin\n"),
                     "root:x:0:\nlogs:x:4:\nnonroot:x:65532:\n", id="nonroot and group"),
        pytest.param(ListedImage((), user="4242"), PASSWD.format(""), "root:x:0:\n",
                     id="number of nobody"),
    ],
)  # fmt: skip
def test_accounts_are_those_that_are_needed(
    base: Path, image: ListedImage, passwd: str, group: str
) -> None:
    listed = _listed(base, ["passwd"], image)

    assert listed["/etc/passwd"].text.decode() == passwd
    assert listed["/etc/group"].text.decode() == group


def test_nonroot_is_nobody_whom_the_machine_calls_so(base: Path) -> None:
    for name in ("passwd", "group"):
        with (base / "etc" / name).open("a") as accounts:
            accounts.write("nonroot:x:7:0::/root:/bin/sh\nother:x:65532:0::/:/bin/sh\n")

    listed = _listed(base, [], ListedImage((), user="nonroot"))

    line = "nonroot:x:65532:65532::/:/sbin/nologin\n"
    assert listed["/etc/passwd"].text.decode() == PASSWD.format(line)
    assert listed["/etc/group"].text.decode() == "root:x:0:\nnonroot:x:65532:\n"


def test_machine_without_accounts_has_root(base: Path) -> None:
    (base / "etc/passwd").unlink()
    (base / "etc/group").unlink()

    listed = _listed(base, ["passwd"], ListedImage(()))

    assert listed["/etc/passwd"].text == b"root:x:0:0::/:/sbin/nologin\n"
    assert listed["/etc/group"].text == b"root:x:0:\n"


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([_entry(b"/etc/passwd")], ["/etc/passwd"], id="passwd file of a run"),
        pytest.param([_entry(b"/etc/passwd", reason="extra:x")], [], id="asked for"),
        pytest.param([LIBRARY, CLIENT],
                     ["/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/openssl.cnf",
                      "/usr/lib/ssl/cert.pem"], id="TLS client"),
        pytest.param([LIBRARY, CLIENT, _entry(b"/etc/ssl/certs/x.pem")], [],
                     id="TLS client with certificates"),
        pytest.param([LIBRARY, _entry(b"/usr/bin/server")], [], id="TLS server"),
        pytest.param([LIBRARY, _entry(b"/usr/bin/script")], [], id="no ELF file"),
        pytest.param([CLIENT], [], id="no TLS library"),
    ],
)  # fmt: skip
def test_what_comes_unasked(base: Path, entries: list[Entry], expected: list[str]) -> None:
    assert list(_listed(base, [], ListedImage(tuple(entries)))) == expected


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        pytest.param("app", ["/etc/group", "/etc/passwd"], id="name"),
        pytest.param("900:logs", ["/etc/group", "/etc/passwd"], id="name of a group"),
        pytest.param("", [], id="nobody"),
    ],
)
def test_user_by_name_needs_account_files(base: Path, user: str, expected: list[str]) -> None:
    assert list(_listed(base, [], ListedImage((), user=user))) == expected


def test_own_passwd_file_stays(base: Path) -> None:
    view = Overlay(
        Root(WatchedFileSystem(os.fsencode(base), {b"/etc/passwd": b"/etc/passwd"})), b"/project"
    )
    view.place_source(b"/etc/group", b"group")
    image = ListedImage((_entry(b"/etc/passwd"),), user="somebody")

    assert list(presets.requests(view, image, [])) == []


def test_tls_without_a_bundle_on_the_machine_is_left_to_lint(base: Path) -> None:
    (base / "etc/ssl/certs/ca-certificates.crt").unlink()

    assert _listed(base, [], ListedImage((LIBRARY, CLIENT))) == {}


@pytest.mark.parametrize(
    ("names", "image", "error", "message"),
    [
        pytest.param(["tzdata"], ListedImage(()), ListError,
                     "cannot use preset tzdata: this machine does not have its files; "
                     "install their package, or take the preset away", id="no files"),
        pytest.param(["ca-certificates"], ListedImage(()), ListError,
                     "cannot use preset ca-certificates: this machine does not have its files; "
                     "install their package, or take the preset away", id="no certificates"),
        pytest.param(["locale"], ListedImage((), locales=("xx_XX.UTF-8",)), ListError,
                     "cannot find locale xx_XX.UTF-8: there is no /usr/lib/locale/xx_XX.utf8; "
                     "install or generate it, or name C.UTF-8", id="locale"),
        pytest.param(["passwd"], ListedImage((), user="me"), InputError,
                     "cannot find user me of IMAGE_USER: this machine has no such one; "
                     "write a number, or map a file of the project to /etc/passwd", id="user"),
        pytest.param(["passwd"], ListedImage((), user="0:us"), InputError,
                     "cannot find group us of IMAGE_USER: this machine has no such one; "
                     "write a number, or map a file of the project to /etc/passwd", id="group"),
    ],
)  # fmt: skip
def test_what_cannot_be(
    tmp_path: Path, names: list[str], image: ListedImage, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        _listed(tmp_path, names, image)

    assert str(caught.value) == message


def test_wants_of_presets_need_not_exist(base: Path) -> None:
    view = Overlay(Root(WatchedFileSystem(os.fsencode(base))), b"/project")

    assert Request(b"/tmp", "preset:tmp", required=False) in presets.requests(
        view, ListedImage(()), ["tmp"]
    )


@pytest.mark.parametrize(
    ("path", "names"),
    [
        pytest.param(b"/etc/localtime", ["tzdata"], id="one"),
        pytest.param(b"/etc/passwd", ["passwd"], id="made"),
        pytest.param(b"/srv/x", [], id="none"),
    ],
)
def test_presets_that_bring_a_path(base: Path, path: bytes, names: list[str]) -> None:
    view, image = (
        Overlay(Root(WatchedFileSystem(os.fsencode(base))), b"/project"),
        ListedImage((), locales=("xx_XX.UTF-8",)),
    )

    assert list(presets.presets_with(view, image, path)) == names


def test_each_name_of_a_preset_has_its_files() -> None:
    assert {*presets._PRESETS, *imports.PRESETS} == {*PRESETS}
