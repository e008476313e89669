from __future__ import annotations

import os
from pathlib import Path

import pytest
from scratch_image import lint
from scratch_image.filelist import Entry
from scratch_image.overlay import Overlay
from scratch_image.root import Root
from scratch_image.strace import Use
from scratch_image.tracer import Record, Used


def _entries(*paths: str) -> list[Entry]:
    return [Entry("file", 0o644, 0, 0, os.fsencode(path)) for path in paths]


def _find(
    base: Path, entries: list[Entry], *uses: Used, more: list[str] | None = None
) -> list[str]:
    view = Overlay(Root(os.fsencode(base)), b"/project")
    return list(lint.find(view.apart(), entries, [Record(uses)], more or ()))


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


def test_ten_findings_are_told(base: Path) -> None:
    more = [f"finding {at:02}" for at in range(13)]

    assert _find(base, [], more=more[::-1]) == [*more[:10], "and 3 findings more"]


def test_looks_are_on_no_record(base: Path) -> None:
    view = Overlay(Root(os.fsencode(base)), b"/project")

    lint.find(view.apart(), _entries("/usr/lib/libc.so.6", "/getaddrinfo"), [])

    assert view.looked == view.below.looked == set()
