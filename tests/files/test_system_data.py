from __future__ import annotations

import os
from pathlib import Path

import pytest
from examined import examine, write_elf
from scratch_image.files import system_data
from scratch_image.files.own_code import own_code
from scratch_image.trace.record import Use, Used

LIBC = "/usr/lib/libc.so.6"
FILES = (
    "etc/localtime", "etc/services", "etc/protocols", "usr/share/zoneinfo/UTC", "usr/share/zoneinfo/Asia/Tokyo",
    "usr/share/zoneinfo/posix/UTC", "usr/share/zoneinfo/zone.tab", "usr/lib/locale/C.utf8/LC_CTYPE",
    "usr/lib/locale/de_DE.utf8/LC_CTYPE", "usr/share/fonts/a/A.ttf", "usr/share/fonts/B.otf",
    "usr/share/fonts/README", "usr/lib/terminfo/x/xterm", "usr/lib/terminfo/v/vt100",
    "usr/lib/libfontconfig.so.1", "usr/lib/libtinfo.so.6", "usr/lib/libssl.so.3",
    "usr/lib/jvm/lib/server/libjvm.so", "usr/lib/jvm/lib/security/cacerts",
    "usr/lib/python3/dist-packages/certifi/__init__.py",
    "usr/lib/python3/dist-packages/certifi/cacert.pem", "usr/lib/libgcc_s.so.1",
)  # fmt: skip


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "lib").symlink_to("usr/lib")
    _write_libc(tmp_path, "2.36")
    for name in (
        "pthread_exit", "getaddrinfo", "getservbyname", "localtime", "tgetent", "mkstemp",
        "towlower", "puts", "SSL_CTX_set_default_verify_paths",
    ):  # fmt: skip
        write_elf(tmp_path / name, name)
    write_elf(tmp_path / "icu", "localtime_r", "_ZN6icu_728TimeZone13createDefaultEv")
    write_elf(tmp_path / "usr/lib/jvm/lib/libjava.so", "localtime")
    write_elf(tmp_path / "git", "iconv_open", "ISO-8859-1")
    write_elf(tmp_path / "bash", "iconv_open")
    write_elf(tmp_path / "go", "crypto/x509.(*Certificate).Verify")
    return tmp_path


def _write_libc(base: Path, version: str) -> None:
    (base / LIBC[1:]).write_text(f"GNU C Library (x) stable release version {version}.\n")


def _find(base: Path, *listed: str, looks: tuple[str, ...] = ()) -> list[str]:
    uses = tuple(Used(Use.ABSENT, os.fsencode(path)) for path in looks)
    image = examine(base, *listed, uses=uses)
    code = [*own_code(image, system_data.WORDS)]
    return [f"{each.rank} {each}" for each in sorted(system_data.find(image, code))]


ZONES = "it means UTC, as the image has {} of 2 zones; add the preset tzdata"
FONTS = (
    "2 text in another font or script: another font replaces it, as the image has {} of 2 fonts; "
    "list /usr/share/fonts"
)
TERMINALS = (
    "a terminal, as TERM and docker run -t name it: the image has {} of 2 descriptions of "
    "terminals; list /lib/terminfo"
)
CERTIFI = "/usr/lib/python3/dist-packages/certifi"


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        pytest.param("/puts", [], id="nothing of these"),
        pytest.param("/pthread_exit",
                     ["2 the end of a thread: /pthread_exit calls pthread_exit, for which glibc "
                      "loads libgcc_s.so.1 or aborts; list /usr/lib/libgcc_s.so.1"], id="threads"),
        pytest.param("/pthread_exit /usr/lib/libgcc_s.so.1", [], id="threads with libgcc"),
        pytest.param("/getaddrinfo", [], id="names of hosts"),
        pytest.param("/getservbyname",
                     ["3 the name of a service or protocol: /getservbyname calls getservbyname, "
                      "and the image has no /etc/services and no /etc/protocols; "
                      "add the preset nss"], id="services"),
        pytest.param("/getservbyname /etc/services /etc/protocols", [], id="listed services"),
        pytest.param("/git",
                     ["3 text in another character set, such as ISO-8859-1: /git calls iconv_open, "
                      "and the image has no /usr/lib/gconv; list /usr/lib/gconv"], id="encodings"),
        pytest.param("/bash", [], id="encodings of locales only"),
        pytest.param("/git /usr/lib/gconv/gconv-modules", [], id="encodings with modules"),
        pytest.param("/localtime", ["3 TZ with a time zone: " + ZONES.format(0)], id="no zone"),
        pytest.param("/localtime /usr/share/zoneinfo/UTC",
                     ["3 TZ with another time zone: " + ZONES.format(1)], id="one zone"),
        pytest.param("/localtime /usr/share/zoneinfo/UTC /usr/share/zoneinfo/Asia/Tokyo", [],
                     id="all zones"),
        pytest.param("/icu", [], id="zones of ICU"),
        pytest.param("/icu /localtime", ["3 TZ with a time zone: " + ZONES.format(0)],
                     id="zones of ICU and of the system"),
        pytest.param("/usr/lib/jvm/lib/libjava.so /usr/lib/jvm/lib/server/libjvm.so "
                     "/usr/lib/jvm/lib/security/cacerts", [], id="zones of a JVM"),
        pytest.param("/usr/lib/libfontconfig.so.1 /usr/share/fonts/B.otf", [FONTS.format(1)],
                     id="one font"),
        pytest.param("/usr/lib/libfontconfig.so.1 /usr/share/fonts/B.otf /usr/share/fonts/a/A.ttf",
                     [], id="all fonts"),
        pytest.param("/tgetent", ["2 " + TERMINALS.format(0)], id="program with terminals"),
        pytest.param("/usr/lib/libtinfo.so.6 /usr/lib/terminfo/x/xterm",
                     ["3 " + TERMINALS.format(1)], id="library of terminals"),
        pytest.param("/mkstemp",
                     ["2 an input for which it makes a temporary file: /mkstemp calls mkstemp, "
                      "and the image has no /tmp; add the preset tmp"], id="temporary files"),
        pytest.param("/mkstemp /tmp", [], id="temporary files with /tmp"),
        pytest.param("/towlower",
                     ["3 LANG with a locale, such as C.utf8: it means C, as the image has 0 of 2 "
                      "locales; add the preset locale"], id="characters"),
        pytest.param("/towlower /usr/lib/locale/C.utf8", [], id="characters with a locale"),
        pytest.param("/usr/lib/libssl.so.3 /SSL_CTX_set_default_verify_paths",
                     ["2 TLS: /SSL_CTX_set_default_verify_paths finds no certificates; "
                      "add the preset ca-certificates"], id="TLS"),
        pytest.param("/go", ["2 TLS: /go finds no certificates; add the preset ca-certificates"],
                     id="TLS of Go"),
        pytest.param("/go /etc/ssl/certs/ca-certificates.crt", [], id="TLS of Go with a bundle"),
        pytest.param("/usr/lib/jvm/lib/server/libjvm.so",
                     ["2 TLS: /usr/lib/jvm/lib/server/libjvm.so finds no certificates; "
                      "list /usr/lib/jvm/lib/security/cacerts"], id="TLS of Java"),
        pytest.param("/usr/lib/jvm/lib/server/libjvm.so /usr/lib/jvm/lib/security/cacerts", [],
                     id="TLS of Java with its store"),
        pytest.param(f"{CERTIFI}/__init__.py",
                     [f"2 TLS: {CERTIFI}/__init__.py finds no certificates; "
                      f"list {CERTIFI}/cacert.pem"], id="TLS of certifi"),
        pytest.param(f"{CERTIFI}/__init__.py {CERTIFI}/cacert.pem", [],
                     id="TLS of certifi with its store"),
    ],
)  # fmt: skip
def test_findings(base: Path, listed: str, found: list[str]) -> None:
    assert _find(base, LIBC, *listed.split()) == found


@pytest.mark.parametrize(
    ("version", "files", "is_reported"),
    [
        pytest.param("2.31", "", True, id="old"),
        pytest.param("2.34", "", True, id="its default asks no files"),
        pytest.param("2.35", "", False, id="first with a good default"),
        pytest.param("2.31", "/etc/nsswitch.conf", False, id="listed"),
    ],
)  # fmt: skip
def test_old_glibc_needs_nsswitch(base: Path, version: str, files: str, is_reported: bool) -> None:
    _write_libc(base, version)

    assert _find(base, LIBC, "/getaddrinfo", *files.split()) == [
        "2 a host name: /getaddrinfo calls getaddrinfo, which needs /etc/nsswitch.conf and modules "
        "in a glibc before 2.35; add the preset nss"
    ] * is_reported  # fmt: skip


@pytest.mark.parametrize("look", ["/etc/localtime", "/usr/share/zoneinfo/Europe/Oslo"])
def test_a_run_that_looked_for_its_zone_makes_it_likely(base: Path, look: str) -> None:
    found = _find(base, "/puts", looks=(look,))

    assert found == ["2 TZ with a time zone: " + ZONES.format(0)]


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        pytest.param("", ["3 LANG with a locale, such as C.utf8: it means C, as the image has 0 of "
                          "2 locales; add the preset locale"], id="none"),
        pytest.param("C.utf8", ["3 LANG with another locale, such as de_DE.utf8: it means C, as "
                                "the image has 1 of 2 locales; list /usr/lib/locale"], id="one"),
        pytest.param("C.utf8 de_DE.utf8", [], id="all"),
    ],
)  # fmt: skip
def test_a_run_that_looked_for_its_locale(base: Path, listed: str, found: list[str]) -> None:
    paths = [f"/usr/lib/locale/{name}" for name in listed.split()]

    assert _find(base, "/puts", *paths, looks=("/usr/lib/locale/locale-archive",)) == found


@pytest.mark.parametrize("name", ["pthread_exit", "getaddrinfo", "getservbyname", "git"])
def test_program_without_glibc_needs_none_of_its_files(base: Path, name: str) -> None:
    assert _find(base, f"/{name}") == []
