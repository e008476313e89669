"""dpkg's database: which Debian package a file of the machine or of a sysroot is of.

It is read as dpkg writes it below /var/lib/dpkg (dpkg(1), deb822(5)): the paragraphs of ``status``,
``info/NAME.list`` with the paths of each package, ``info/NAME.md5sums``, and ``diversions``. Where
/lib is a link to /usr/lib, a package may list a file as /lib/x that lies at /usr/lib/x.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ..errors import ListError
from ..fs.file_system import FileSystem
from ..fs.lookup import FileKind
from ..fs.paths import join, show
from ..fs.root import Aspect, Root

HOME = b"/var/lib/dpkg"

FILES = (HOME + b"/info", HOME + b"/status", HOME + b"/diversions")
"""The files of its database that dpkg writes again and renames with every change."""

_LARGEST = 64 << 20
"""Bytes of any file of the database."""

_MERGED = (b"bin", b"sbin", b"lib", b"lib32", b"lib64", b"libx32")
"""Directories of / that may be links to those in /usr."""

# Compiled when they are used: a null build asks for the stamp alone.
_NAME_FIELD = rb"(?m)^Package:[ \t]*(\S+)[ \t]*$"
_FIELD = rb"(?m)^(\S+?):[ \t]*(.*)$"
_OWN_FIELDS = (
    rb"(?m)^(?:Status|Config-Version|Conffiles|Triggers-Pending|Triggers-Awaited):.*\n"
    rb"(?:[ \t].*\n)*"
)
"""The fields that dpkg adds to a package's own paragraph."""

_IDENTITY = r"[a-z0-9][a-z0-9+.-]+ [0-9A-Za-z.+~:-]+ [a-z0-9][a-z0-9-]*"
"""Name, version and architecture, as Debian's policy has them."""

_DEPENDS = rb"(?m)^(?:Pre-)?Depends:[ \t]*(.*)$"
_DEPENDENCY = rb"(?:^|[,|])\s*([a-z0-9][a-z0-9+.-]+)"
_PROGRAM = rb"(?:/usr)?/s?bin/[^/]+"

_SUM = rb"(?m)^([0-9a-f]{32})  (.+)$"


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package."""

    key: str
    """Its name in dpkg's files, with the architecture where two may be installed."""
    name: str
    version: str
    architecture: str
    source: str
    """Name of the source package, which security notices are about."""
    source_version: str
    """The version of that package, where it is another one; empty otherwise."""
    control: bytes
    """Its paragraph as the package has it, without what dpkg adds."""


@dataclass(frozen=True, slots=True)
class Owned:
    """A file that is of a package."""

    package: Package
    md5: str
    """Of its content as shipped, 32 hex digits; empty for links and for configuration."""


class Database:
    """All that dpkg knows of the files in a file system."""

    def __init__(self, files: FileSystem) -> None:
        """Read which package lists which path."""
        self._files = files
        self._merged = {each for each in _MERGED if files.walk(b"/" + each).real == b"/usr/" + each}
        self._diverted: dict[bytes, bytes] = {}
        self._owners = self._read_lists()
        self._paragraphs: dict[bytes, list[bytes]] = {}
        for paragraph in self._read(HOME + b"/status").split(b"\n\n"):
            for name in re.findall(_NAME_FIELD, paragraph)[:1]:
                self._paragraphs.setdefault(name, []).append(paragraph.strip(b"\n") + b"\n")
        self._package = functools.cache(self._find)
        self._sums = functools.cache(self._read_sums)
        self._programs = functools.cache(self._find_programs)

    def owner(self, path: bytes) -> Owned | None:
        """Return what the file `path`, link-free but for its last component, is of."""
        for listed in (path, *self._names_before_usr_merge(path)):
            key = self._owners.get(listed)
            package = self._package(key) if key else None
            if package is not None:
                shipped = self._diverted.get(listed, listed)
                return Owned(package, self._sums(package.key).get(shipped, ""))
        return None

    def paths(self, keys: Collection[str]) -> list[bytes]:
        """Return the paths of the packages that dpkg's files call `keys`."""
        names = {key.encode() for key in keys}
        return [path for path, key in self._owners.items() if key in names]

    def needed_programs(self, package: Package) -> list[bytes]:
        """Return the programs, on a usual PATH, of the packages on which `package` depends."""
        fields = re.findall(_DEPENDS, package.control)
        names = {name for field in fields for name in re.findall(_DEPENDENCY, field)}
        return [path for name in sorted(names) for path in self._programs().get(name, ())]

    def _find_programs(self) -> dict[bytes, list[bytes]]:
        """Return the programs of each package by its name."""
        found: dict[bytes, list[bytes]] = {}
        for path, key in self._owners.items():
            if re.fullmatch(_PROGRAM, path):
                found.setdefault(key.split(b":")[0], []).append(path)
        return found

    def _names_before_usr_merge(self, path: bytes) -> tuple[bytes, ...]:
        """Return how a package that knows no merged directories lists `path`."""
        is_merged = path[:5] == b"/usr/" and path[5:].split(b"/")[0] in self._merged
        return (path[4:],) if is_merged else ()

    def _read(self, path: bytes) -> bytes:
        """Return what the file `path` holds; nothing where there is none."""
        found = self._files.walk(path)
        return b"" if found.status is None else self._content(found.real)

    def _content(self, path: bytes) -> bytes:
        with self._files.open(path) as stream:
            if os.fstat(stream.fileno()).st_size > _LARGEST:
                raise _bad(path, f"has more than {_LARGEST >> 20} MB")
            return stream.read()

    def _read_lists(self) -> dict[bytes, bytes]:
        """Return the package of each path, as dpkg's files call it: the first of several."""
        info = self._files.walk(HOME + b"/info")
        if info.status is None or info.status.kind is not FileKind.DIR:
            return {}
        moved = self._diversions()
        owners: dict[bytes, bytes] = {}
        for name in reversed(self._files.listing(info.real)):
            key, suffix = os.path.splitext(name)
            if suffix == b".list":
                listed = dict.fromkeys(self._content(join(info.real, name)).split(b"\n"), key)
                for path, (place, diverter) in moved.items():
                    if path in listed and key.split(b":")[0] != diverter:
                        listed[place] = listed.pop(path)
                owners.update(listed)
        return owners

    def _diversions(self) -> dict[bytes, tuple[bytes, bytes]]:
        """Return where the files of all but one package lie instead, and that package."""
        lines = self._read(HOME + b"/diversions").splitlines()
        groups = list(zip(lines[::3], lines[1::3], lines[2::3], strict=False))
        self._diverted = {place: path for path, place, _ in groups}
        return {path: (place, diverter) for path, place, diverter in groups}

    def _find(self, key: bytes) -> Package | None:
        """Return the package that dpkg's files call `key`, if it is installed."""
        name, _, architecture = key.partition(b":")
        for paragraph in self._paragraphs.get(name, ()):
            fields = dict(re.findall(_FIELD, paragraph))
            state = fields.get(b"Status", b"").rpartition(b" ")[2]
            if state in (b"config-files", b"not-installed"):
                continue
            if architecture in (b"", fields.get(b"Architecture")):
                return _package(key, paragraph, fields)
        return None

    def _read_sums(self, key: str) -> dict[bytes, str]:
        text = self._read(b"%s/info/%s.md5sums" % (HOME, key.encode()))
        return {b"/" + path: md5.decode() for md5, path in re.findall(_SUM, text)}


def _package(key: bytes, paragraph: bytes, fields: dict[bytes, bytes]) -> Package:
    words = (fields.get(name, b"") for name in (b"Package", b"Version", b"Architecture"))
    name, version, architecture = (word.decode("ascii", "replace").strip() for word in words)
    if not re.fullmatch(_IDENTITY, f"{name} {version} {architecture}"):
        raise _bad(HOME + b"/status", f"has a malformed paragraph of package {show(key)}")
    source, _, other = fields.get(b"Source", b"").decode("ascii", "replace").partition(" ")
    control = re.sub(_OWN_FIELDS, b"", paragraph)
    return Package(
        key.decode("ascii"), name, version, architecture, source or name, other.strip("()"), control
    )


def _bad(path: bytes, cause: str) -> ListError:
    return ListError(
        f"read dpkg's {show(path)}",
        f"it {cause}",
        "repair the database, or set IMAGE_PACKAGES=False",
    )


_databases: dict[bytes, tuple[bytes, Database]] = {}
"""By base on the machine: it takes a tenth of a second to read, and every file needs it."""


def _database(files: FileSystem) -> Database:
    base, now = files.host_path(HOME), stamp(files)
    if base not in _databases or _databases[base][0] != now:
        _databases[base] = now, Database(files)
    return _databases[base][1]


def stamp(files: FileSystem) -> bytes:
    """Return a word that is another one whenever dpkg has changed its database in `files`."""
    words = []
    for path in FILES:
        found = files.status(path)
        words.append(b"%d-%d" % (found.inode[1], found.ctime_ns) if found else b"none")
    return b"/".join(words)


def owner(root: Root, path: bytes) -> Owned | None:
    """Return what the file `path`, link-free but for its last component, is of, if of a package.

    ListError when the database cannot be read.
    """
    root.look(path, Aspect.OWNER)
    return lookup(root.files, path)


def lookup(files: FileSystem, path: bytes) -> Owned | None:
    """As `owner`, but off the record."""
    return _database(files).owner(path)


def paths_beside(files: FileSystem, paths: Iterable[bytes]) -> list[bytes]:
    """Return all paths of the packages that the files `paths` are of, off the record.

    ListError when the database cannot be read.
    """
    found = [lookup(files, path) for path in paths]
    return _database(files).paths({each.package.key for each in found if each})


def needed_programs(files: FileSystem, path: bytes) -> list[bytes]:
    """Return the programs of packages on which that of the file `path` depends, off the record.

    ListError when the database cannot be read.
    """
    found = lookup(files, path)
    return _database(files).needed_programs(found.package) if found else []


def answer(files: FileSystem, path: bytes) -> bytes:
    """Return all that `owner` can tell of `path`; equal texts, equal answers."""
    found = lookup(files, path)
    if found is None:
        return b"none"
    return b"%s %s\n%s" % (found.package.key.encode(), found.md5.encode(), found.package.control)
