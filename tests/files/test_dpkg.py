from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from debs import install
from scratch_image.errors import ListError
from scratch_image.files import dpkg
from scratch_image.files.dpkg import Package
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Give a base with merged /usr and some packages."""
    for name in ("lib", "bin"):
        (tmp_path / "usr" / name).mkdir(parents=True)
        (tmp_path / name).symlink_to(f"usr/{name}")
    install(tmp_path, "libold:amd64", {"/lib/libold.so": "old"}, more="Source: old (0.9)\n")
    install(tmp_path, "libold:i386", {"/usr/share/doc/libold": "doc"})
    install(tmp_path, "libnew:amd64", {"/usr/lib/libnew.so": "new", "/usr/share/doc/libold": "d"})
    install(tmp_path, "gone", {"/etc/gone.conf": "gone"}, state="deinstall ok config-files")
    install(tmp_path, "shell", {"/bin/sh": "shell"})
    (tmp_path / "var/lib/dpkg/diversions").write_text("/bin/sh\n/bin/sh.distrib\ndash\n")
    install(tmp_path, "dash", {"/usr/bin/dash": "dash"}, more="Conffiles:\n /etc/dash 0\n")
    return tmp_path


def _root(base: Path) -> Root:
    return Root(WatchedFileSystem(os.fsencode(base)))


def _owner(base: Path, path: str) -> str:
    found = dpkg.owner(_root(base), os.fsencode(path))
    return f"{found.package.key} {found.md5[:4]}" if found else ""


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()[:4]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("/usr/lib/libnew.so", f"libnew:amd64 {_md5('new')}", id="as it is listed"),
        pytest.param("/usr/lib/libold.so", f"libold:amd64 {_md5('old')}", id="listed below /lib"),
        pytest.param("/lib/libnew.so", "", id="not link-free"),
        pytest.param("/usr/share/doc/libold", f"libnew:amd64 {_md5('d')}", id="first of two"),
        pytest.param("/usr/bin/sh", "", id="diverted away"),
        pytest.param("/usr/bin/sh.distrib", f"shell {_md5('shell')}", id="diverted to"),
        pytest.param("/etc/gone.conf", "", id="package that was removed"),
        pytest.param("/usr/lib/libnone.so", "", id="nobody's"),
        pytest.param("/usr", "", id="short"),
        pytest.param("/", "", id="root"),
    ],
)  # fmt: skip
def test_owner(base: Path, path: str, expected: str) -> None:
    assert _owner(base, path) == expected


def test_what_diverts_has_its_own(base: Path) -> None:
    install(base, "dash", {"/usr/bin/dash": "dash", "/bin/sh": "link"})

    assert _owner(base, "/usr/bin/sh").startswith("dash ")
    assert _owner(base, "/usr/bin/sh.distrib").startswith("shell ")


def test_package_is_what_its_paragraph_says(base: Path) -> None:
    found = dpkg.owner(_root(base), b"/usr/lib/libold.so")

    assert found is not None
    assert found.package == Package(
        "libold:amd64", "libold", "1-1", "amd64", "old", "0.9",
        b"Package: libold\nArchitecture: amd64\nVersion: 1-1\nSource: old (0.9)\n"
        b"Description: key libold:amd64\n",
    )  # fmt: skip


def test_source_is_the_package_itself_where_it_names_none(base: Path) -> None:
    found = dpkg.owner(_root(base), b"/usr/bin/dash")

    assert found is not None
    assert found.package.source == "dash"
    assert b"Conffiles" not in found.package.control


def test_sums_that_are_malformed_are_none(base: Path) -> None:
    (base / "var/lib/dpkg/info/dash.md5sums").write_text("zz  usr/bin/dash\n" + "0" * 32)

    assert _owner(base, "/usr/bin/dash") == "dash "


def test_base_without_dpkg_owns_nothing(tmp_path: Path) -> None:
    assert _owner(tmp_path, "/usr/bin/dash") == ""
    assert dpkg.answer(_root(tmp_path).files, b"/usr/bin/dash") == b"none"


def test_only_the_question_is_on_record(base: Path) -> None:
    root = _root(base)

    dpkg.owner(root, b"/usr/bin/dash")
    dpkg.answer(root.files, b"/usr/bin/sh")

    assert root.looked == {(b"/usr/bin/dash", Aspect.OWNER)}


@pytest.mark.parametrize(
    ("key", "files", "version", "changes"),
    [
        pytest.param("other", {"/usr/bin/other": ""}, "1", False, id="another package"),
        pytest.param("dash", {"/usr/bin/dash": "dash"}, "2", True, id="another version"),
        pytest.param("dash", {"/usr/bin/dash": "new"}, "1-1", True, id="another content"),
        pytest.param("dash", {"/usr/bin/x": "x"}, "1-1", True, id="no longer its file"),
        pytest.param("aaa", {"/usr/bin/dash": "x"}, "1-1", True, id="another owner"),
    ],
)  # fmt: skip
def test_answer_changes_with_what_names_the_file_only(
    base: Path, key: str, files: dict[str, str], version: str, changes: bool
) -> None:
    root = _root(base)
    before, stamp = dpkg.answer(root.files, b"/usr/bin/dash"), dpkg.stamp(root.files)

    install(base, key, files, version, more="Conffiles:\n /etc/dash 0\n")

    assert dpkg.stamp(root.files) != stamp
    assert (dpkg.answer(root.files, b"/usr/bin/dash") != before) is changes


def test_machine_answers_as_dpkg_does() -> None:
    library = subprocess.run(
        ["dpkg", "-S", "*/libc.so.6"], capture_output=True, text=True, check=True
    ).stdout
    package = next(line.split(": ")[0] for line in library.splitlines() if "libc6:" in line)
    version = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", package],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    [path] = [
        path.resolve()
        for path in Path("/usr/lib").glob("*/libc.so.6")
        if "gnu" in path.parent.name and (path.parent / "libdl.so.2").exists()
    ][:1]

    found = dpkg.owner(Root(), os.fsencode(path))

    assert found is not None
    assert (found.package.key, found.package.version) == (package, version)
    assert found.md5 == hashlib.md5(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("Package: dash", "Package: Da..sh", id="name"),
        pytest.param("Version: 1-1", "Version: 1 1", id="version"),
        pytest.param("Architecture: amd64", "Architecture: ../x", id="architecture"),
    ],
)
def test_malformed_paragraph_is_told(base: Path, old: str, new: str) -> None:
    status = base / "var/lib/dpkg/status"
    status.write_text(status.read_text().replace(old, new))
    name = new.removeprefix("Package: ") if old == "Package: dash" else "dash"
    if name != "dash":
        (base / "var/lib/dpkg/info" / f"{name}.list").write_text("/usr/bin/dash\n")
        (base / "var/lib/dpkg/info/dash.list").unlink()

    with pytest.raises(ListError) as caught:
        _owner(base, "/usr/bin/dash")

    assert str(caught.value) == (
        "cannot read dpkg's /var/lib/dpkg/status: it has a malformed paragraph of package "
        f"{name}; repair the database, or set IMAGE_PACKAGES=False"
    )


def test_database_that_is_too_large_is_told(base: Path) -> None:
    os.truncate(base / "var/lib/dpkg/status", (64 << 20) + 1)

    with pytest.raises(ListError) as caught:
        _owner(base, "/usr/bin/dash")

    assert str(caught.value) == (
        "cannot read dpkg's /var/lib/dpkg/status: it has more than 64 MB; "
        "repair the database, or set IMAGE_PACKAGES=False"
    )
