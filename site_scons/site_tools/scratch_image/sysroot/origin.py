"""Origins of a sysroot: the tar of a root file system, an image of an engine, Debian packages.

The packages come by mmdebstrap, which needs no root. A lock file has their exact versions.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError, SysrootError, one_line
from ..fs.paths import join, show
from ..fs.root import Aspect, Root, WatchedFileSystem
from ..image.compression import decompress, suffix_of
from ..sandbox import namespaces, process

_PINNED = re.compile(r"(?:^|@)sha256:[0-9a-f]{64}$")


class Origin(ABC):
    """The origin of a sysroot's files."""

    __slots__ = ()

    @abstractmethod
    def __str__(self) -> str:
        """Return a name for it, of one line."""

    @abstractmethod
    def tar(
        self, root: Root, sources: Sequence[bytes], work: bytes
    ) -> Generator[bytes, None, None]:
        """Yield the bytes of the tree's tar; the directory `work` is for temporary files.

        Looks at files go on the record of `root`, the machine's. ScratchImageError when there is
        no tar; ValueError when it cannot be read.
        """

    def shared_words(self, root: Root) -> tuple[str, ...] | None:
        """Return all that decides over the tar, in words of any machine; put looks on record.

        None where that is not known before, or where others would fetch the tar no faster.
        """
        return None

    def note(self) -> str:
        """Return more words for the line about the tree."""
        return ""

    def forget(self) -> bool:
        """Take no tar of others any more; tell whether this one was."""
        return False

    def config(self, root: Root) -> Mapping[str, Any] | None:
        """Return the config (hostile) of the image that was unpacked; None when it was none."""
        return None

    def settle(self, tree: bytes) -> dict[bytes, bytes]:
        """Check the unpacked `tree`; return the files that belong to it, none by default."""
        return {}


@dataclass(frozen=True, slots=True)
class TarOrigin(Origin):
    """A tar of a root file system: the one source, .tar, .tar.gz or .tar.zst."""

    name: str

    def __str__(self) -> str:
        return f"archive {self.name}"

    def tar(
        self, root: Root, sources: Sequence[bytes], work: bytes
    ) -> Generator[bytes, None, None]:
        """Yield the tar, decompressed."""
        with open(sources[0], "rb", buffering=0) as blob:
            yield from decompress(blob, suffix_of(sources[0]))


@dataclass(frozen=True, slots=True)
class EngineOrigin(Origin):
    """An image that an engine has."""

    address: str
    reference: str
    """Its tag, or its name and digest."""

    def __str__(self) -> str:
        return f"image {self.reference}"

    def tar(
        self, root: Root, sources: Sequence[bytes], work: bytes
    ) -> Generator[bytes, None, None]:
        """Yield the export of a container of the image; the container never runs."""
        from ..publish import engine

        found = engine.image_id(self.address, self.reference)
        # A digest names the same image for ever; a tag may move, also while this one is exported.
        if found and not _PINNED.search(self.reference):
            root.know(self._tag, Aspect.IMAGE, found)
        yield from engine.export(self.address, found or self.reference)

    def config(self, root: Root) -> Mapping[str, Any]:
        """Return the config of the image whose files `tar` has yielded."""
        from ..publish import engine

        found = root.known.get((self._tag, Aspect.IMAGE), self.reference)
        return engine.config(self.address, found)

    @property
    def _tag(self) -> bytes:
        return f"{self.address} {self.reference}".encode()


_SECONDS = 3600.0
"""For mmdebstrap to fetch and install."""

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

_HINTS = {
    "arch-test": "apt-get install arch-test",
    "executed natively": "name it by dpkg's word, and install an emulator, as qemu-user-static",
    "chroot mode": "apt-get install uidmap, and give the user numbers in /etc/subuid and "
    "/etc/subgid",
}
"""By words of mmdebstrap's complaint."""

_FIELD = re.compile(r"^(Package|Status|Version): (.*)$", re.MULTILINE)
_STATUS = b"/var/lib/dpkg/status"


@dataclass(frozen=True, slots=True)
class DebianOrigin(Origin):
    """Debian packages, with all that they depend on and what is essential."""

    suite: str
    names: tuple[str, ...]
    mirrors: tuple[str, ...] = ()
    """URLs, or lines of sources.list(5); none for Debian's own, with updates and security."""
    architecture: str = ""
    """dpkg's word for it; empty for that of the machine."""
    lock: bytes = b""
    """File with the exact versions, seen from `top`; used if it is there, else written."""
    top: bytes = field(default=b"/", repr=False)
    """The project's directory, absolute; not part of the signature: checkouts lie anywhere."""
    epoch: int = 0
    """Latest time of a file, seconds since 1970."""

    def __post_init__(self) -> None:
        """Raise InputError for a word that mmdebstrap would take for something else."""
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
        """Yield the tar that mmdebstrap makes of the packages, in the locked versions if any."""
        self._look_at_lock(root)
        locked = self._read_lock() if self.lock else ()
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

    def shared_words(self, root: Root) -> tuple[str, ...] | None:
        """Return the request and the locked packages; None without a lock."""
        if not self.lock or not os.path.exists(self._lock_file):
            return None
        self._look_at_lock(root)
        return repr(self), os.uname().machine, *self._read_lock()

    def _look_at_lock(self, root: Root) -> None:
        if self.lock:
            root.look(self._lock_file, Aspect.CONTENT)
            if os.path.exists(self._lock_file):
                root.files.status(self._lock_file)  # A new one is an output, and not watched.

    @property
    def _lock_file(self) -> bytes:
        return join(self.top, self.lock)

    def _bootstrap(self, tool: bytes, made: bytes, locked: tuple[str, ...]) -> None:
        # All at once: mmdebstrap then reports missing packages before it fetches any.
        included = [locked] if locked else [["?essential"], sorted(self.names)]
        foreign = [f"--architectures={self.architecture}"] if self.architecture else []
        ran = process.run(
            [
                # A killed mmdebstrap would leave its mounts and its processes on the machine.
                *namespaces.containment_words(),
                *(tool, "--variant=custom"),
                *foreign,
                *(f"--include={','.join(packages)}" for packages in included),
                # The lock has the requested packages; this file would differ from it.
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
        if ran.is_failure:
            raise self._make_error(_cause(ran), locked)

    def _make_error(self, cause: str, locked: Sequence[str]) -> SysrootError:
        hint = "correct suite, packages or mirror"
        if locked:
            hint = f"delete {show(self.lock)} to lock other versions, or name a mirror with these"
        hint = next((words for part, words in _HINTS.items() if part in cause), hint)
        return SysrootError(f"make sysroot of {self}", cause, hint)

    def _read_lock(self) -> tuple[str, ...]:
        """Return ``NAME=VERSION`` of each package in the lock file, none where there is no file."""
        try:
            with open(self._lock_file, "rb") as stream:
                text = stream.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ()
        found = _LOCK.fullmatch(text)
        if not found:
            raise InputError(
                f"read lock {show(self.lock)}", "it is not a lock", "delete it to make a new one"
            )
        theirs, ours = (set(head.splitlines()) for head in (found[1], self._head()))
        if missing := ours - theirs:
            raise self._lock_error(f"it has no line {min(missing)!r}")
        if more := theirs - ours:
            raise self._lock_error(f"it has the line {min(more)!r}")
        return tuple(found[2].split())

    def _lock_error(self, cause: str) -> InputError:
        return InputError(f"use lock {show(self.lock)}", cause, "delete it to make a new one")

    def _head(self) -> str:
        """Return the lines of a lock that name the requested packages."""
        lines = ["# scratch_image lock 1", f"suite {self.suite}"]
        lines += [f"architecture {self.architecture}"] if self.architecture else []
        lines += [f"mirror {mirror}" for mirror in sorted(set(self.mirrors))]
        return "".join(f"{line}\n" for line in [*lines, f"asked {' '.join(sorted(self.names))}"])

    def settle(self, tree: bytes) -> dict[bytes, bytes]:
        """Compare the lock with the installed packages; return the text of a new lock."""
        if not self.lock:
            return {}
        versions, locked = installed_packages(tree), self._read_lock()
        if locked and sorted(locked) != versions:
            other = min(set(locked) ^ set(versions))
            raise self._make_error(f"{other} is only in the lock, or only installed", locked)
        text = self._head() + "".join(f"{each}\n" for each in versions)
        return {} if locked else {self._lock_file: text.encode()}


def _cause(ran: process.Result) -> str:
    """Return apt's complaint; that of mmdebstrap is only our command line."""
    lines = [] if ran.overdue else ran.stderr.decode("utf-8", "backslashreplace").splitlines()
    complaints = [line for line in lines if line.startswith("E: ")] or lines or [ran.end]
    return one_line(complaints[0].removeprefix("E: ")).rstrip(".")


def has_packages(tree: bytes) -> bool:
    """Tell whether dpkg has a database in `tree`."""
    return Root(WatchedFileSystem(tree)).walk(_STATUS).status is not None


def installed_packages(tree: bytes) -> list[str]:
    """Return ``NAME=VERSION`` of each package that dpkg has installed in `tree`, sorted."""
    root = Root(WatchedFileSystem(tree))
    found = root.walk(_STATUS)
    if found.status is None:
        raise SysrootError(f"lock {show(tree)}", f"it has no {show(_STATUS)}", "leave out lock")
    with root.open(found.real) as stream:
        text = stream.read().decode("utf-8", "replace")
    stanzas = [dict(_FIELD.findall(stanza)) for stanza in text.split("\n\n")]
    whole = [stanza for stanza in stanzas if stanza.get("Status") == "install ok installed"]
    return sorted(f"{each.get('Package')}={each.get('Version')}" for each in whole)
