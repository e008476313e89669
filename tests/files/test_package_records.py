from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from debs import install
from scratch_image.files import package_records
from scratch_image.files.entry import Entry
from scratch_image.files.merge import merge
from scratch_image.files.request import Request
from scratch_image.fs.lookup import FileKind, Status
from scratch_image.fs.overlay import Overlay, Placed
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem


@pytest.fixture
def base(tmp_path: Path) -> Path:
    base = tmp_path / "base"
    (base / "usr/lib").mkdir(parents=True)
    (base / "lib").symlink_to("usr/lib")
    install(base, "libx:amd64", {"/lib/libx.so.1.2": "x", "/usr/share/doc/libx/copyright": "MIT"})
    install(base, "tool", {"/usr/bin/tool": "tool", "/usr/share/doc/tool-base/copyright": "GPL"})
    (base / "usr/share/doc/tool").symlink_to("tool-base")
    (base / "usr/lib/libx.so.1").symlink_to("libx.so.1.2")
    _own(base, "libx:amd64", "/usr/lib/libx.so.1")
    _own(base, "libx:amd64", "/lib")
    (base / "usr/lib/none").write_text("nobody's")
    install(
        base,
        "base-files",
        {"/usr/lib/os-release": "ID=debian\n", "/usr/share/doc/base-files/copyright": "?"},
    )
    (base / "etc").mkdir()
    (base / "etc/os-release").symlink_to("../usr/lib/os-release")
    (base / "etc/debian_version").write_text("12\n")
    return base


def _own(base: Path, key: str, path: str) -> None:
    with (base / "var/lib/dpkg/info" / f"{key}.list").open("a") as stream:
        stream.write(f"{path}\n")


def _view(base: Path, staged: dict[bytes, bytes] | None = None) -> Overlay:
    project = os.fsencode(base.parent / "project")
    return Overlay(Root(WatchedFileSystem(os.fsencode(base), staged, own=project)), project)


def _listed(view: Overlay, *paths: str) -> tuple[Entry, ...]:
    return merge(view, [Request(os.fsencode(path), "run:1") for path in paths])


def _owners(view: Overlay, *paths: str) -> dict[str, str]:
    found = {entry.path: package_records.owner(view, entry) for entry in _listed(view, *paths)}
    return {os.fsdecode(path): each.package.key for path, each in found.items() if each}


def test_files_and_links_to_them_are_of_their_package(base: Path) -> None:
    assert _owners(_view(base), "/lib/libx.so.1", "/usr/bin/tool", "/usr/lib/none") == {
        "/usr/bin/tool": "tool",
        "/usr/lib/libx.so.1": "libx:amd64",
        "/usr/lib/libx.so.1.2": "libx:amd64",
    }


def test_project_has_its_own(base: Path, tmp_path: Path) -> None:
    own = tmp_path / "project/tool"
    own.parent.mkdir()
    own.write_text("ours")
    view = _view(base, {b"/usr/bin/tool": os.fsencode(own)})
    view.place_source(b"/usr/lib/libx.so.1.2", b"tool")

    assert _owners(view, "/usr/bin/tool", "/usr/lib/libx.so.1.2") == {}


def test_file_of_the_machine_that_is_staged_stays_its_packages(tmp_path: Path) -> None:
    [program] = [path for path in ("/usr/bin/dpkg", "/bin/dpkg") if os.path.isfile(path)][:1]
    view = Overlay(
        Root(WatchedFileSystem(staged={b"/opt/x": os.fsencode(program)})), os.fsencode(tmp_path)
    )

    assert _owners(view, "/opt/x") == {"/opt/x": "dpkg"}


def test_link_that_a_list_makes_is_no_packages(base: Path) -> None:
    view = _view(base)
    view.place(
        b"/usr/lib/libx.so.1", Placed(Status(FileKind.LINK, 0o777, 0, 0, target=b"/usr/bin/tool"))
    )

    assert _owners(view, "/usr/lib/libx.so.1") == {"/usr/bin/tool": "tool"}


def test_file_of_the_machine_elsewhere_stays_its_packages(base: Path) -> None:
    view = _view(base)
    view.place_source(b"/srv/tool", b"/usr/bin/tool")

    assert _owners(view, "/srv/tool") == {"/srv/tool": "tool"}


@pytest.mark.parametrize(
    ("paths", "with_copyright", "expected"),
    [
        pytest.param(["/usr/lib/none"], True, [], id="no package's"),
        pytest.param(["/usr/bin/tool"], False, ["/etc/os-release", "/etc/debian_version"],
                     id="release"),
        pytest.param(["/usr/bin/tool", "/lib/libx.so.1"], True,
                     ["/etc/os-release", "/etc/debian_version",
                      "/usr/share/doc/base-files/copyright", "/usr/share/doc/libx/copyright",
                      "/usr/share/doc/tool/copyright"], id="licences"),
    ],
)  # fmt: skip
def test_files_that_come_along(
    base: Path, paths: list[str], with_copyright: bool, expected: list[str]
) -> None:
    view = _view(base)
    entries = _listed(view, *paths)

    found = list(package_records.release_requests(view, entries, with_copyright=with_copyright))

    assert found == [Request(os.fsencode(path), "packages", required=False) for path in expected]


def _sum(text: str, path: str) -> str:
    return f"{hashlib.md5(text.encode()).hexdigest()}  {path}\n"


def test_status_has_paragraphs_and_the_sums_of_listed_files(base: Path) -> None:
    view = _view(base)
    entries = _listed(view, "/lib/libx.so.1", "/usr/bin/tool")

    wants = list(package_records.record_requests(view, entries))

    made = {os.fsdecode(path): placed.text.decode() for path, placed in view.files.placed.items()}
    home = "/var/lib/dpkg/status.d"
    assert made == {
        f"{home}/libx:amd64": "Package: libx\nArchitecture: amd64\nVersion: 1-1\n"
        "Description: key libx:amd64\n",
        f"{home}/libx:amd64.md5sums": _sum("x", "usr/lib/libx.so.1.2"),
        f"{home}/tool": "Package: tool\nArchitecture: amd64\nVersion: 1-1\nDescription: key tool\n",
        f"{home}/tool.md5sums": _sum("tool", "usr/bin/tool"),
    }
    assert [os.fsdecode(want.path) for want in wants] == list(made)


def test_package_of_links_alone_has_no_sums(base: Path) -> None:
    install(base, "links", {"/usr/share/x": "x"})
    (base / "usr/lib/link").symlink_to("none")
    _own(base, "links", "/usr/lib/link")
    view = _view(base)

    list(package_records.record_requests(view, _listed(view, "/usr/lib/link")))

    assert list(view.files.placed) == [b"/var/lib/dpkg/status.d/links"]


def test_each_listed_file_is_on_record(base: Path) -> None:
    view = _view(base)
    entries = _listed(view, "/usr/bin/tool", "/usr/lib/none")

    list(package_records.record_requests(view, entries))

    asked = {path for path, aspect in view.looked if aspect is Aspect.OWNER}
    assert asked == {b"/usr/bin/tool", b"/usr/lib/none"}
