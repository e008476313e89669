"""The bill of materials of an image: each file with its digests and its package.

Two forms, by the suffix of the file: SPDX 2.3 (https://spdx.github.io/spdx-spec/v2.3/) and
CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/). Times and identifiers follow from the image,
so equal images have equal bills. The libraries that write them are imported when they are used.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import TYPE_CHECKING

from ..errors import InputError
from ..fs.digest import CHUNK, Digest
from ..fs.paths import show

if TYPE_CHECKING:
    from uuid import UUID

    from cyclonedx.model.component import Component
    from packageurl import PackageURL
    from spdx_tools.spdx import model as spdx

    from ..files.dpkg import Package
    from ..files.entry import Entry
    from ..fs.overlay import Overlay
    from ..image.archive import Archive

FORMS = {".spdx.json": "SPDX", ".cdx.json": "CycloneDX"}
"""The suffixes that a bill may have, and the form that each stands for."""
WRITERS = {
    ".spdx.json": ("spdx-tools", "packageurl-python"),
    ".cdx.json": ("cyclonedx-python-lib", "py-serializable", "packageurl-python"),
}
"""The distributions that write each form: another version may write other bytes."""

_RELEASE = (b"/etc/os-release", b"/usr/lib/os-release")
_FIELD = rb"""(?m)^(ID|VERSION_ID)=["']?([a-z0-9._-]+)["']?$"""

_TOOL = "scons-scratch-image"


@dataclass(frozen=True, slots=True)
class BillFile:
    """A file of the image."""

    path: str
    """Its path in the image, as text records have it."""
    sha1: str
    sha256: str
    package: Package | None
    origin: str
    """``project``, ``generated`` or ``machine``, for a file without a package."""


@dataclass(frozen=True, slots=True)
class Bill:
    """The packages and files of an image."""

    name: str
    """The first of the image's names."""
    image: Digest
    """Of its manifest."""
    created: int
    """Seconds since 1970."""
    distribution: tuple[str, str]
    """ID and VERSION_ID of os-release(5); empty where it has none."""
    packages: tuple[Package, ...]
    """The packages of files and of links to files, sorted."""
    files: tuple[BillFile, ...]
    """In the order of the file list."""

    def of(self, package: Package | None) -> list[BillFile]:
        """Return the files of `package`, or those without one."""
        return [file for file in self.files if file.package == package]


def bill(view: Overlay, entries: Sequence[Entry], image: Archive) -> Bill:
    """Return the bill of `image`, made of `entries`; `view` has their files.

    ListError when a file cannot be read.
    """
    from ..files import package_records

    owned = [(entry, package_records.owner(view, entry)) for entry in entries]
    of = {entry.path: found.package for entry, found in owned if found}
    return Bill(
        image.references[0].familiar,
        image.manifest,
        view.files.epoch,
        _distribution(view),
        tuple(sorted({*of.values()}, key=attrgetter("key"))),
        tuple(
            _file(view, entry, of.get(entry.path))
            for entry in entries
            if entry.kind in ("file", "hard")
        ),
    )


def _file(view: Overlay, entry: Entry, package: Package | None) -> BillFile:
    hashes = hashlib.sha1(usedforsecurity=False), hashlib.sha256()
    for chunk in _chunks(view, entry):
        for each in hashes:
            each.update(chunk)
    sha1, sha256 = (each.hexdigest() for each in hashes)
    return BillFile(show(entry.path), sha1, sha256, package, _origin(view, entry))


def _chunks(view: Overlay, entry: Entry) -> Iterator[bytes]:
    if entry.text:
        yield entry.text
        return
    with view.open(entry.path) as stream:
        yield from iter(lambda: stream.read(CHUNK), b"")


def _origin(view: Overlay, entry: Entry) -> str:
    if entry.text:
        return "generated"
    return "project" if view.files.is_own(entry.path) else "machine"


def _distribution(view: Overlay) -> tuple[str, str]:
    for path in _RELEASE:
        found = view.below.walk(path)
        if found.status is not None:
            with view.below.open(found.real) as stream:
                fields = dict(re.findall(_FIELD, stream.read()))
            return fields.get(b"ID", b"").decode(), fields.get(b"VERSION_ID", b"").decode()
    return "", ""


def suffix(name: str) -> str:
    """Return which key of `FORMS` the file `name` ends in; InputError when in none."""
    for known in FORMS:
        if name.endswith(known):
            return known
    raise InputError(
        f"make bill of materials {name}",
        "its suffix means no form",
        f"end its name in one of {', '.join(FORMS)}",
    )


def write(found: Bill, suffix: str) -> bytes:
    """Return `found` in the form that `suffix` stands for; InputError without its library."""
    try:
        text = _spdx(found) if suffix == ".spdx.json" else _cyclonedx(found)
    except ModuleNotFoundError as error:
        raise InputError(
            f"write bill of materials in {FORMS[suffix]}",
            f"there is no Python module {error.name}",
            "pip install 'scons-scratch-image[sbom]'",
        ) from error
    return text.encode() + b"\n"


def _purl(found: Bill, package: Package) -> PackageURL:
    """Return the name of `package` among the packages of all distributions.

    https://github.com/package-url/purl-spec/blob/main/types-doc/deb-definition.md
    """
    from packageurl import PackageURL

    name, version = found.distribution
    qualifiers = {"arch": package.architecture}
    if name and version:
        qualifiers["distro"] = f"{name}-{version}"
    if package.source_version:
        qualifiers["upstream"] = f"{package.source}@{package.source_version}"
    elif package.source != package.name:
        qualifiers["upstream"] = package.source
    return PackageURL("deb", name or "debian", package.name, package.version, qualifiers)


def _identifier(found: Bill, form: str) -> UUID:
    import uuid

    return uuid.uuid5(uuid.NAMESPACE_OID, f"{_TOOL} {form} {found.name} {found.image}")


def _time(found: Bill) -> datetime:
    return datetime.fromtimestamp(found.created, UTC)


# SPDX


def _spdx(found: Bill) -> str:
    from spdx_tools.spdx import model as spdx
    from spdx_tools.spdx.writer.json import json_writer

    contains = spdx.RelationshipType.CONTAINS
    image = _spdx_image(found)
    made, files = [image], []
    links = [spdx.Relationship("SPDXRef-DOCUMENT", spdx.RelationshipType.DESCRIBES, image.spdx_id)]
    for package in (*found.packages, None):
        own = [_spdx_file(file) for file in found.of(package)]
        holder = _spdx_package(found, package, own) if package else image
        if package:
            made.append(holder)
            links.append(spdx.Relationship(image.spdx_id, contains, holder.spdx_id))
        links += [spdx.Relationship(holder.spdx_id, contains, file.spdx_id) for file in own]
        files += own
    head = spdx.CreationInfo(
        "SPDX-2.3",
        "SPDXRef-DOCUMENT",
        found.name,
        f"https://spdx.org/spdxdocs/{_TOOL}-{_identifier(found, 'SPDX')}",
        [spdx.Actor(spdx.ActorType.TOOL, _TOOL)],
        _time(found).replace(tzinfo=None),
    )
    text = io.StringIO()
    document = spdx.Document(head, made, files, relationships=links)
    # Valid by the way it is made, which tests check; the library takes its time for that.
    json_writer.write_document_to_stream(document, text, validate=False, drop_duplicates=False)
    return text.getvalue()


def _spdx_image(found: Bill) -> spdx.Package:
    from spdx_tools.spdx import model as spdx
    from spdx_tools.spdx.spdx_element_utils import calculate_package_verification_code

    return spdx.Package(
        "SPDXRef-Image",
        found.name,
        spdx.SpdxNoAssertion(),
        version=str(found.image),
        verification_code=calculate_package_verification_code(
            [_spdx_file(file) for file in found.of(None)]
        ),
        primary_package_purpose=spdx.PackagePurpose.CONTAINER,
    )


def _spdx_package(found: Bill, package: Package, files: list[spdx.File]) -> spdx.Package:
    from spdx_tools.spdx import model as spdx
    from spdx_tools.spdx.spdx_element_utils import calculate_package_verification_code

    purl = spdx.ExternalPackageRef(
        spdx.ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", _purl(found, package).to_string()
    )
    return spdx.Package(
        f"SPDXRef-Package-{_short(package.key)}",
        package.name,
        spdx.SpdxNoAssertion(),
        version=package.version,
        verification_code=calculate_package_verification_code(files),
        external_references=[purl],
    )


def _spdx_file(file: BillFile) -> spdx.File:
    from spdx_tools.spdx import model as spdx

    sums = [
        spdx.Checksum(spdx.ChecksumAlgorithm.SHA1, file.sha1),
        spdx.Checksum(spdx.ChecksumAlgorithm.SHA256, file.sha256),
    ]
    comment = None if file.package else f"origin: {file.origin}"
    return spdx.File(f".{file.path}", f"SPDXRef-File-{_short(file.path)}", sums, comment=comment)


def _short(name: str) -> str:
    """Return an identifier of `name` without characters that SPDX has no place for."""
    return hashlib.sha256(name.encode()).hexdigest()[:20]


# CycloneDX


def _cyclonedx(found: Bill) -> str:
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.tool import ToolRepository
    from cyclonedx.output.json import JsonV1Dot6

    image = Component(
        name=found.name, type=ComponentType.CONTAINER, version=str(found.image), bom_ref="image"
    )
    tools = ToolRepository(
        components=[Component(name=_TOOL, type=ComponentType.APPLICATION, bom_ref="tool")]
    )
    parts = [_cyclonedx_package(found, package) for package in found.packages]
    parts += _cyclonedx_others(found)
    bom = Bom(
        serial_number=_identifier(found, "CycloneDX"),
        metadata=BomMetaData(timestamp=_time(found), component=image, tools=tools),
        components=parts,
    )
    bom.register_dependency(image, parts)
    return JsonV1Dot6(bom).output_as_string(indent=1)


def _cyclonedx_package(found: Bill, package: Package) -> Component:
    from cyclonedx.model.component import Component, ComponentType

    purl = _purl(found, package)
    return Component(
        name=package.name,
        type=ComponentType.LIBRARY,
        version=package.version,
        purl=purl,
        bom_ref=purl.to_string(),
        components=map(_cyclonedx_file, found.of(package)),
    )


def _cyclonedx_others(found: Bill) -> Iterator[Component]:
    """Yield the files without a package, by origin.

    The library takes the square of the time for what is at the top.
    """
    from cyclonedx.model.component import Component, ComponentType

    others = found.of(None)
    for origin in sorted({file.origin for file in others}):
        yield Component(
            name=origin,
            type=ComponentType.DATA,
            bom_ref=f"origin:{origin}",
            components=[_cyclonedx_file(file) for file in others if file.origin == origin],
        )


def _cyclonedx_file(file: BillFile) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType

    return Component(
        name=file.path,
        type=ComponentType.FILE,
        bom_ref=f"file:{file.path}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=file.sha256)],
    )
