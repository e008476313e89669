from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from debs import install
from scratch_image.errors import InputError
from scratch_image.files import package_records
from scratch_image.files.entry import write_entries
from scratch_image.files.merge import merge
from scratch_image.files.request import Request
from scratch_image.fs.overlay import Overlay
from scratch_image.fs.root import Root, WatchedFileSystem
from scratch_image.fs.target import write
from scratch_image.image import archive
from scratch_image.image.reference import Reference
from scratch_image.image.settings import Settings
from scratch_image.inspect import sbom
from scratch_image.inspect.sbom import Bill
from scratch_image.scons.steps.image import ImageStep
from scratch_image.scons.steps.layer_tar import LayerStep
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

EPOCH = 1_600_000_000
RELEASE = 'PRETTY_NAME="Debian"\nID=debian\nVERSION_ID="12"\n'


@pytest.fixture
def base(tmp_path: Path) -> Path:
    base = tmp_path / "base"
    install(base, "libx++:amd64", {"/usr/lib/libx.so.1.2": "x"}, "1:1.0+b1", more="Source: x (1)\n")
    install(base, "links", {"/usr/share/links": ""}, more="Source: chain\n")
    with (base / "var/lib/dpkg/info/links.list").open("a") as stream:
        stream.write("/usr/lib/libx.so.1\n")
    (base / "usr/lib/libx.so.1").symlink_to("libx.so.1.2")
    (base / "usr/lib/by hand \udcff").write_text("hand")
    install(base, "base-files", {"/usr/lib/os-release": RELEASE})
    (base / "etc").mkdir()
    (base / "etc/os-release").symlink_to("../usr/lib/os-release")
    (tmp_path / "project").mkdir()
    (tmp_path / "project/app").write_text("app")
    return base


PATHS = (b"/usr/lib/libx.so.1", b"/usr/lib/by hand \xff", b"/usr/bin/app", b"/etc/os-release")


def _bill(base: Path, *paths: bytes) -> Bill:
    """Return the bill of an image of `paths`, and of what tells scanners of them."""
    project = os.fsencode(base.parent / "project")
    root = Root(
        WatchedFileSystem(
            os.fsencode(base), {b"/usr/bin/app": project + b"/app"}, EPOCH, own=project
        )
    )
    view = Overlay(root, project)
    wants = [Request(path, "run:1") for path in paths]
    wants += package_records.record_requests(view, merge(view, wants))
    entries = merge(view, wants)
    listed, tar, image = (project + name for name in (b"/x.files", b"/x.tar", b"/x.oci.tar"))
    write(listed, [write_entries(entries)])
    LayerStep("x", "none", project).run(root, [tar], [listed])
    step = ImageStep("x", 1, Settings(), (Reference.parse("x"),), "unix:///nonexistent")
    step.run(root, [image], [tar])
    return sbom.bill(view, entries, archive.read(image))


def test_bill_names_each_file_and_what_it_is_of(base: Path) -> None:
    bill = _bill(base, *PATHS)

    assert (bill.name, bill.created, bill.distribution) == ("x:latest", EPOCH, ("debian", "12"))
    assert [package.key for package in bill.packages] == ["base-files", "libx++:amd64", "links"]
    assert {
        file.path: file.package.key if file.package else file.origin for file in bill.files
    } == {
        "/usr/bin/app": "project",
        "/usr/lib/by\\040hand\\040\\377": "machine",
        "/usr/lib/libx.so.1.2": "libx++:amd64",
        "/usr/lib/os-release": "base-files",
        **{
            f"/var/lib/dpkg/status.d/{name}": "generated"
            for name in (
                *("base-files", "base-files.md5sums", "libx++:amd64", "libx++:amd64.md5sums"),
                "links",
            )
        },
    }
    [app] = [file for file in bill.files if file.path == "/usr/bin/app"]
    assert app.sha256 == hashlib.sha256(b"app").hexdigest()
    assert app.sha1 == hashlib.sha1(b"app").hexdigest()


def test_base_without_a_release(base: Path) -> None:
    (base / "etc/os-release").unlink()
    (base / "usr/lib/os-release").unlink()

    bill = _bill(base, b"/usr/lib/libx.so.1.2")

    assert bill.distribution == ("", "")
    assert "pkg:deb/debian/libx%2B%2B@1:1.0%2Bb1?arch=amd64&upstream=x%401" in (
        sbom.write(bill, ".spdx.json").decode()
    )


def _written(bill: Bill, suffix: str) -> Any:
    return json.loads(sbom.write(bill, suffix))


PURL = "pkg:deb/debian/libx%2B%2B@1:1.0%2Bb1?arch=amd64&distro=debian-12&upstream=x%401"


def test_spdx_is_valid_and_names_all(base: Path, tmp_path: Path) -> None:
    bill = _bill(base, *PATHS)
    path = tmp_path / "x.spdx.json"
    path.write_bytes(sbom.write(bill, ".spdx.json"))

    document = parse_file(str(path))

    assert validate_full_spdx_document(document) == []
    written = json.loads(path.read_bytes())
    assert written["creationInfo"]["created"] == "2020-09-13T12:26:40Z"
    assert {each["fileName"]: _sums(each) for each in written["files"]} == {
        f".{file.path}": {"SHA1": file.sha1, "SHA256": file.sha256} for file in bill.files
    }
    purls = {
        each["name"]: [ref["referenceLocator"] for ref in each.get("externalRefs", [])]
        for each in written["packages"]
    }
    assert list(purls) == ["x:latest", "base-files", "libx++", "links"]
    assert purls["libx++"] == [PURL]
    assert purls["links"] == ["pkg:deb/debian/links@1-1?arch=amd64&distro=debian-12&upstream=chain"]
    comments = {each["fileName"]: each.get("comment") for each in written["files"]}
    assert comments["./usr/bin/app"] == "origin: project"
    assert comments["./usr/lib/libx.so.1.2"] is None


def _sums(file: Any) -> dict[str, str]:
    return {each["algorithm"]: each["checksumValue"] for each in file["checksums"]}


def test_spdx_says_what_contains_each_file(base: Path) -> None:
    written = _written(_bill(base, *PATHS), ".spdx.json")

    names = {each["SPDXID"]: each["fileName"] for each in written["files"]}
    names |= {each["SPDXID"]: each["name"] for each in written["packages"]}
    pairs = {
        (names[each["spdxElementId"]], names[each["relatedSpdxElement"]])
        for each in written["relationships"]
        if each["relationshipType"] == "CONTAINS"
    }
    assert {("x:latest", "libx++"), ("libx++", "./usr/lib/libx.so.1.2")} <= pairs
    assert ("x:latest", "./usr/bin/app") in pairs
    assert len(pairs) == len(written["files"]) + 3


def test_cyclonedx_is_valid_and_names_all(base: Path) -> None:
    bill = _bill(base, *PATHS)

    text = sbom.write(bill, ".cdx.json").decode()

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    written = json.loads(text)
    assert written["metadata"]["timestamp"] == "2020-09-13T12:26:40+00:00"
    assert written["metadata"]["component"]["version"] == str(bill.image)
    found = {
        file["name"]: (file["hashes"][0]["content"], part.get("purl"), part["name"])
        for part in written["components"]
        for file in part.get("components", [])
    }
    assert {path: sha256 for path, (sha256, _, _) in found.items()} == {
        file.path: file.sha256 for file in bill.files
    }
    assert found["/usr/lib/libx.so.1.2"][1:] == (PURL, "libx++")
    assert found["/usr/bin/app"][1:] == (None, "project")
    assert found["/var/lib/dpkg/status.d/links"][1:] == (None, "generated")
    assert [each["name"] for each in written["components"] if each["type"] == "library"] == [
        package.name for package in bill.packages
    ]


@pytest.mark.parametrize("suffix", sbom.FORMS)
def test_equal_images_have_equal_bills_and_others_do_not(base: Path, suffix: str) -> None:
    first, again = _bill(base, *PATHS), _bill(base, *PATHS[::-1])
    (base.parent / "project/app").write_text("new")

    assert sbom.write(first, suffix) == sbom.write(again, suffix)
    assert _number(_bill(base, *PATHS), suffix) != _number(first, suffix)


def _number(bill: Bill, suffix: str) -> str:
    written = _written(bill, suffix)
    return str(written.get("serialNumber") or written["documentNamespace"])


@pytest.mark.parametrize("suffix", sbom.FORMS)
def test_image_without_packages(base: Path, suffix: str) -> None:
    bill = _bill(base, b"/usr/bin/app")

    assert bill.packages == ()
    assert b"/usr/bin/app" in sbom.write(bill, suffix)


@pytest.mark.parametrize(
    ("suffix", "module", "form"),
    [
        pytest.param(".spdx.json", "spdx_tools.spdx", "SPDX", id="SPDX"),
        pytest.param(".cdx.json", "cyclonedx.model", "CycloneDX", id="CycloneDX"),
        pytest.param(".cdx.json", "packageurl", "CycloneDX", id="names of packages"),
    ],
)
def test_library_that_is_not_installed(
    base: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, module: str, form: str
) -> None:
    bill = _bill(base, *PATHS)
    for name in [*sys.modules]:
        if name == module or name.startswith(f"{module}."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(InputError) as caught:
        sbom.write(bill, suffix)

    start, _, end = str(caught.value).partition(module)
    assert start == (f"cannot write bill of materials in {form}: there is no Python module ")
    assert end.endswith("; pip install 'scons-scratch-image[sbom]'")


def test_suffix_tells_the_form() -> None:
    assert sbom.suffix("a/x.cdx.json") == ".cdx.json"
    with pytest.raises(InputError) as caught:
        sbom.suffix("x.json")

    assert str(caught.value) == (
        "cannot make bill of materials x.json: its suffix means no form; "
        "end its name in one of .spdx.json, .cdx.json"
    )
