"""A base that is not the machine's root: a directory, packages, an engine's image, or a tar.

All but a directory are unpacked to a tree of our own, with what its file system cannot keep beside
it. A tree takes its place when it is whole. Packages come by mmdebstrap, which needs no root; their
exact versions are kept in a lock file, and come from it where it is there.
"""

from __future__ import annotations

import os
import re
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from ..errors import InputError, SysrootError
from ..fs import owners
from ..fs.digest import Digest
from ..fs.paths import join, show
from ..fs.root import Aspect, Root
from ..fs.status import FileKind
from ..sandbox import namespaces, process
from .unpack import Unpacking, remove

_TOLD = 300
"""Characters of a complaint that a message quotes."""

_SECONDS = 3600.0
"""For mmdebstrap to fetch and install."""

_LIBRARIES = (b"/lib", b"/lib64", b"/lib32", b"/libx32", b"/usr/lib", b"/usr/lib64")
_LOADER = re.compile(rb"ld[a-z0-9_-]*\.so\.[0-9]")

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*")
_SUITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_ARCHITECTURE = re.compile(r"[a-z0-9-]*")
_MIRROR = re.compile(
    r"[a-z][a-z+]*:/[!-~]+|deb (?:\[[ -Z^-~]+\] )?[a-z][a-z+]*:/[!-~]+(?: [!-~]+)+"
)
"""A URL, or a line of sources.list(5)."""
_LOCK = re.compile(
    r"(# scratch_image lock 1\n(?:(?:suite|architecture|mirror|asked) .+\n)+)"
    r"((?:[a-z0-9][a-z0-9+.-]*=[A-Za-z0-9.+:~-]+\n)+)"
)

_PINNED = re.compile(r"(?:^|@)sha256:[0-9a-f]{64}$")

_MENDS = {
    "arch-test": "apt-get install arch-test",
    "executed natively": "name it by dpkg's word, and have what runs it registered, as by "
    "qemu-user-static",
    "chroot mode": "apt-get install uidmap, and give the user numbers in /etc/subuid and "
    "/etc/subgid",
}
"""What to do about what mmdebstrap complains of, by words of that."""

_FIELD = re.compile(r"^(Package|Status|Version): (.*)$", re.MULTILINE)
_STATUS = b"/var/lib/dpkg/status"


class Origin(ABC):
    """What a sysroot is made of."""

    __slots__ = ()

    @abstractmethod
    def __str__(self) -> str:
        """Return the words for it, of one line."""

    @abstractmethod
    def tar(
        self, root: Root, sources: Sequence[bytes], work: bytes
    ) -> Generator[bytes, None, None]:
        """Yield the bytes of the tree's tar, with the directory `work` to put things into.

        All that it looks at goes on the record of `root`, the machine's. ScratchImageError when
        there is none; ValueError when it cannot be read.
        """

    def settle(self, tree: bytes) -> dict[bytes, bytes]:
        """Check what was unpacked to `tree`; return files that belong to it: by default none."""
        return {}


@dataclass(frozen=True, slots=True)
class Archive(Origin):
    """A tar of a root file system: the one source, .tar, .tar.gz or .tar.zst."""

    name: str

    def __str__(self) -> str:
        return f"archive {self.name}"

    def tar(
        self, root: Root, sources: Sequence[bytes], work: bytes
    ) -> Generator[bytes, None, None]:
        """Yield the tar, decompressed."""
        from ..image.compression import decompress, suffix_of

        with open(sources[0], "rb", buffering=0) as blob:
            yield from decompress(blob, suffix_of(sources[0]))


@dataclass(frozen=True, slots=True)
class EngineImage(Origin):
    """An image that an engine has."""

    address: str
    reference: str
    """Its tag, or its name and digest."""

    def __str__(self) -> str:
        return f"image {self.reference}"

    def tar(
        self, root: Root, sources: Sequence[bytes], work: bytes
    ) -> Generator[bytes, None, None]:
        """Yield what the engine exports of a container of the image that never runs."""
        from ..publish import engine

        found = engine.image_id(self.address, self.reference)
        # A digest names the same image for ever; a tag may move, also while this one is exported.
        if found and not _PINNED.search(self.reference):
            tag = f"{self.address} {self.reference}".encode()
            root.know(tag, Aspect.IMAGE, found)
        yield from engine.export(self.address, found or self.reference)


@dataclass(frozen=True, slots=True)
class Packages(Origin):
    """Debian packages, with all that they depend on and what is essential."""

    suite: str
    names: tuple[str, ...]
    mirrors: tuple[str, ...] = ()
    """URLs, or lines of sources.list(5); none for Debian's own, with updates and security."""
    architecture: str = ""
    """dpkg's word for it; empty for that of the machine."""
    lock: bytes = b""
    """File with the exact versions, seen from `top`; used where it is there, and else written."""
    top: bytes = field(default=b"/", repr=False)
    """The project's directory, absolute; not part of the signature: checkouts lie anywhere."""
    epoch: int = 0
    """Latest time of a file, seconds since 1970."""

    def __post_init__(self) -> None:
        """Raise InputError for what mmdebstrap would take for something else."""
        named = [("suite", _SUITE, self.suite)]
        named += [("architecture", _ARCHITECTURE, self.architecture)]
        named += [("mirror", _MIRROR, mirror) for mirror in self.mirrors]
        named += [("package", _PACKAGE, name) for name in self.names]
        for what, pattern, given in named:
            if not pattern.fullmatch(given):
                raise InputError(
                    "make sysroot of packages", f"{given!r} is no {what}", "correct it"
                )
        if not self.names:
            raise InputError("make sysroot of packages", "none is named", "name some")

    def __str__(self) -> str:
        machine = f" for {self.architecture}" if self.architecture else ""
        return f"packages {' '.join(sorted(self.names))} of {self.suite}{machine}"

    def tar(
        self, root: Root, sources: Sequence[bytes], work: bytes
    ) -> Generator[bytes, None, None]:
        """Yield what mmdebstrap makes of the packages, of the locked ones where they are locked."""
        if self.lock:
            root.look(self._lock_file, Aspect.CONTENT)
            if os.path.exists(self._lock_file):
                root.files.status(self._lock_file)  # One that is new is an output, and not watched.
        locked = self._locked() if self.lock else ()
        tool = process.find(b"mmdebstrap")
        if tool is None:
            raise SysrootError(
                "make sysroot of packages", "there is no mmdebstrap", "apt-get install mmdebstrap"
            )
        made = join(work, b"packages.tar")
        self._bootstrap(tool, made, locked)
        with open(made, "rb", buffering=0) as stream:
            yield from iter(lambda: stream.read(1 << 20), b"")
        os.unlink(made)

    @property
    def _lock_file(self) -> bytes:
        return join(self.top, self.lock)

    def _bootstrap(self, tool: bytes, made: bytes, locked: tuple[str, ...]) -> None:
        # All in one go, as the locked ones: what cannot be had is known before anything comes.
        included = [locked] if locked else [["?essential"], sorted(self.names)]
        foreign = [f"--architectures={self.architecture}"] if self.architecture else []
        ran = process.run(
            [
                # Killed, it would leave the machine what it has mounted, and what it has started.
                *namespaces.containment_words(),
                *(tool, "--variant=custom"),
                *foreign,
                *(f"--include={','.join(packages)}" for packages in included),
                # Which packages were asked for is in the lock; here it would differ from it.
                '--customize-hook=rm -f "$1/var/lib/apt/extended_states"',
                *("--format=tar", self.suite, made),
                *self.mirrors,
            ],
            timeout=_SECONDS,
            environment={
                **process.TOOL_ENVIRONMENT,
                b"SOURCE_DATE_EPOCH": b"%d" % self.epoch,
                b"TMPDIR": os.fsencode(os.environ.get("TMPDIR", "/tmp")),  # noqa: S108
            },
        )
        if ran.status or ran.overdue:
            raise self._unmade(_cause(ran), locked)

    def _unmade(self, cause: str, locked: Sequence[str]) -> SysrootError:
        mend = "correct suite, packages or mirror"
        if locked:
            mend = (
                f"delete {show(self.lock)} to lock anew, or name a mirror that has these versions"
            )
        mend = next((words for said, words in _MENDS.items() if said in cause), mend)
        return SysrootError(f"make sysroot of {self}", cause, mend)

    def _locked(self) -> tuple[str, ...]:
        """Return ``NAME=VERSION`` of each package in the lock file, none where there is no file."""
        try:
            with open(self._lock_file, "rb") as stream:
                text = stream.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ()
        found = _LOCK.fullmatch(text)
        if not found:
            raise InputError(
                f"read lock {show(self.lock)}", "it is not one", "delete it to lock anew"
            )
        theirs, ours = (set(head.splitlines()) for head in (found[1], self._head()))
        if missing := ours - theirs:
            raise self._unfit(f"it has no line {min(missing)!r}")
        if more := theirs - ours:
            raise self._unfit(f"it has the line {min(more)!r}")
        return tuple(found[2].split())

    def _unfit(self, cause: str) -> InputError:
        return InputError(f"use lock {show(self.lock)}", cause, "delete it to lock anew")

    def _head(self) -> str:
        """Return what a lock says of what was asked for."""
        lines = ["# scratch_image lock 1", f"suite {self.suite}"]
        lines += [f"architecture {self.architecture}"] if self.architecture else []
        lines += [f"mirror {mirror}" for mirror in sorted(set(self.mirrors))]
        return "".join(f"{line}\n" for line in [*lines, f"asked {' '.join(sorted(self.names))}"])

    def settle(self, tree: bytes) -> dict[bytes, bytes]:
        """Hold the lock against what was installed; return its text."""
        if not self.lock:
            return {}
        versions, locked = installed(tree), self._locked()
        if locked and sorted(locked) != versions:
            other = min(set(locked) ^ set(versions))
            raise self._unmade(f"{other} is only in the lock, or only installed", locked)
        text = self._head() + "".join(f"{each}\n" for each in versions)
        return {} if locked else {self._lock_file: text.encode()}


def _cause(ran: process.Result) -> str:
    """Return what apt complained of; what mmdebstrap says of it is a command line of ours."""
    if ran.overdue:
        return ran.end
    lines = ran.stderr.decode("utf-8", "backslashreplace").splitlines()
    told = [line for line in lines if line.startswith("E: ")] or lines or [ran.end]
    return textwrap.shorten(told[0].removeprefix("E: "), _TOLD, placeholder=" …").rstrip(" .;")


def installed(tree: bytes) -> list[str]:
    """Return ``NAME=VERSION`` of each package that dpkg has installed in `tree`, sorted."""
    root = Root(tree)
    found = root.walk(_STATUS)
    if found.status is None:
        raise SysrootError(f"lock {show(tree)}", f"it has no {show(_STATUS)}", "lock no such tree")
    with root.open(found.real) as stream:
        text = stream.read().decode("utf-8", "replace")
    stanzas = [dict(_FIELD.findall(stanza)) for stanza in text.split("\n\n")]
    whole = [stanza for stanza in stanzas if stanza.get("Status") == "install ok installed"]
    return sorted(f"{each.get('Package')}={each.get('Version')}" for each in whole)


@dataclass(frozen=True, slots=True)
class Made:
    """A tree that was unpacked."""

    content: Digest
    """Of its listing: paths, kinds, modes, owners, contents."""
    paths: int
    files: Mapping[bytes, bytes]
    """Files that belong to it, with their text."""


def check(directory: bytes, named: str) -> None:
    """Raise SysrootError when no program can run in the tree `directory`, for want of a loader.

    The message calls the tree `named`.
    """
    root = Root(directory)
    try:
        cause = "" if os.listdir(directory) else "it is empty"
    except OSError as error:
        raise SysrootError(
            f"use sysroot {named}", str(error.strerror), "name a directory that can be listed"
        ) from error
    if not cause and not any(_has_loader(root, each) for each in _LIBRARIES):
        cause = "it has no loader, as /lib64/ld-linux-x86-64.so.2"
    if cause:
        raise SysrootError(f"use sysroot {named}", cause, "give it the C library, as by libc6")


def _has_loader(root: Root, directory: bytes) -> bool:
    found = root.walk(directory)
    if found.status is None or found.status.kind is not FileKind.DIR:
        return False
    loaders = [join(found.real, name) for name in root.listing(found.real) if _LOADER.match(name)]
    ends = [root.walk(path).status for path in loaders]
    return any(end is not None and end.kind is FileKind.FILE for end in ends)


@contextmanager
def unpacked(origin: Origin, tree: bytes, root: Root, sources: Sequence[bytes]) -> Iterator[Made]:
    """Unpack `origin` beside `tree`; give what came, and let it take the place of `tree`.

    It does so when the block ends well; else there is the tree of before, and nothing more.
    SysrootError, or what the origin raises, when it cannot be made; OSError when it cannot be
    written. `tree` is absolute.
    """
    work = temporary(tree)
    _clear(work)
    os.mkdir(work)
    try:
        unpacking = Unpacking(join(work, b"tree"), whole_system=True)
        _fill(unpacking, origin, root, sources, work)
        check(unpacking.directory, f"of {origin}")
        lost = owners.differing(unpacking.directory, unpacking.wanted, unpacking.capabilities)
        listing = list(unpacking.listing())
        files = {owners_file(tree): lost.text(), **origin.settle(unpacking.directory)}
        yield Made(Digest.of(b"".join(listing)), len(listing), files)
        _clear(tree)
        os.rename(unpacking.directory, tree)
    finally:
        _clear(work)


def _fill(
    unpacking: Unpacking, origin: Origin, root: Root, sources: Sequence[bytes], work: bytes
) -> None:
    try:
        with closing(origin.tar(root, sources, work)) as chunks:
            unpacking.unpack(chunks)
        unpacking.finish()
    except (ValueError, OverflowError) as error:
        raise SysrootError(
            f"unpack {origin}", str(error), "give the tar of a whole root file system"
        ) from error


def _clear(directory: bytes) -> None:
    if os.path.lexists(directory):
        remove(directory)


def owners_file(tree: bytes) -> bytes:
    """Return where it stands what the file system of `tree` could not keep."""
    return tree + b".owners"


def temporary(tree: bytes) -> bytes:
    """Return the directory in which what becomes `tree` is made."""
    directory, name = os.path.split(tree)
    return join(directory, b".%s.new" % name)
