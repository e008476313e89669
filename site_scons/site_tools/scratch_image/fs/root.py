"""The root that a step sees: a file system, and the record of all looks at it.

Every step looks at files through a `Root`. This record is the step's exact dependency, misses and
listings included: a step cannot forget to name an input. A look that cannot change the step's
result goes to `Root.files`, the file system below the record.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum

from .base_image import BaseImage
from .file_system import FileSystem
from .owners import Owners
from .sights import Sights, WatchedFileSystem
from .staging import Chosen, Staging
from .status import LATEST, Status
from .walk import Walk


class Aspect(StrEnum):
    """The property of a path that was looked at; the value is the word in text records."""

    STAT = "stat"
    """Whether it exists; kind, mode, owner, link text."""
    SIZE = "size"
    """As STAT, and a regular file's size in bytes."""
    CONTENT = "content"
    """As STAT, and a regular file's bytes."""
    MAGIC = "magic"
    """As STAT, and what a regular file's first bytes say of its kind: `FileSystem.magic`."""
    TRUST = "trust"
    """As STAT, and whether a regular file looks for certificates: `FileSystem.trusts`."""
    SECRET = "secret"  # noqa: S105  # a word
    """As STAT, and which kind of secret a regular file holds: see `secret_search.in_file`."""
    LISTING = "listing"
    """As STAT, and a directory's names and their kinds."""
    HARD = "hard"
    """Which other paths are the same file."""
    MTIME = "mtime"
    """A regular file's modification time in whole seconds, none later than the epoch."""
    TIME = "time"
    """A regular file's modification time in whole seconds, whatever the epoch."""
    ACCOUNTS = "accounts"
    """As STAT, and which accounts a regular file names: see `account_files.find_names`."""
    CAPABILITIES = "capabilities"
    """A regular file's capabilities: `FileSystem.capabilities`."""
    ACL = "acl"
    """Whether it has an access control list."""
    SONAME = "soname"
    """The answer of ld.so.cache for a name; the "path" is the name."""
    OWNER = "owner"
    """The Debian package that a file is of, and what dpkg knows of both."""
    IMAGE = "image"
    """Which image an engine holds under a tag; the "path" is engine address and tag."""
    TAG = "tag"
    """The digest that a registry holds under a tag; the "path" is the text of a `Tag`."""
    SETTING = "setting"
    """A setting of the image that the base was made of; the "path" is its name."""
    VIEW = "view"
    """Whether what the base has there is hidden or shown: see `Root.hide`."""


class Root:
    """Looks at a file system, and keeps (path, aspect) of each look."""

    def __init__(
        self,
        base: bytes = b"/",
        staged: Mapping[bytes, bytes] | None = None,
        epoch: int = LATEST,
        owners: Owners | None = None,
        own: bytes = b"",
        repositories: Sequence[bytes] = (),
        chosen: Mapping[bytes, Chosen] | None = None,
        made: Callable[[bytes], bool] | None = None,
        image: BaseImage | None = None,
        staging: Staging | None = None,
    ) -> None:
        """Take what makes a `FileSystem`. InputError when a file cannot be staged at its path."""
        self._watched = WatchedFileSystem(
            base, staged, epoch, owners, own, repositories, chosen, made, image, staging
        )
        self.files: FileSystem = self._watched
        """The file system itself: to look at without a record."""
        self.looked: set[tuple[bytes, Aspect]] = set()
        self.known: dict[tuple[bytes, Aspect], str] = {}
        """The states of things that the step itself has changed."""

    def watch(self) -> None:
        """From now on note how each path is first seen."""
        self._watched.watch()

    def end_watch(self) -> Sights | None:
        """Note no more sights; return those since `watch`, None if it was not called."""
        return self._watched.end_watch()

    def look(self, path: bytes, aspect: Aspect) -> None:
        """Put `path` on record without looking."""
        self.looked.add((path, aspect))

    def know(self, path: bytes, aspect: Aspect, state: str) -> None:
        """Put `path` on record in the `state` that the step has seen or made itself."""
        self.look(path, aspect)
        self.known[path, aspect] = state

    def hide(self, directories: Iterable[bytes], shown: Iterable[bytes] = ()) -> None:
        """See nothing of the base below `directories`, but for what is `shown`.

        It goes on record: what is hidden cannot change what a step does.
        """
        directories = tuple(directories)
        for path in directories:
            self.walk(path)
        self.files.hide(directories, shown)
        for path in (*self.files.hidden, *self.files.shown):
            self.look(path, Aspect.VIEW)

    def status(self, path: bytes, aspect: Aspect = Aspect.STAT) -> Status | None:
        """Return what `path` is, its last component not followed; None when it does not exist."""
        self.look(path, aspect)
        return self.files.status(path)

    def walk(self, path: bytes, *, follow: bool = True, aspect: Aspect = Aspect.STAT) -> Walk:
        """Look `path` up component by component; see `walk.walk`.

        `aspect` is recorded for the path where the lookup ends, and the links on the way with it.
        """
        found = self.files.walk(path, follow=follow)
        for each in (*found.links, *found.left):
            self.look(each, Aspect.STAT)
        self.look(found.barrier or found.real, aspect if found.status else Aspect.STAT)
        return found

    def listing(self, path: bytes) -> list[bytes]:
        """Return the sorted names in the directory `path`; none where there is nothing."""
        self.look(path, Aspect.LISTING)
        return self.files.listing(path)

    def open(self, path: bytes) -> io.FileIO:
        """Open the regular file `path` (link-free) for reading; ListError when it cannot be."""
        self.look(path, Aspect.CONTENT)
        return self.files.open(path)

    def magic(self, path: bytes) -> str:
        """Return ``elf``, ``script`` or ``other``: see `FileSystem.magic`."""
        self.look(path, Aspect.MAGIC)
        return self.files.magic(path)

    def trusts(self, path: bytes) -> bool:
        """Tell whether the ELF file `path` looks for certificates: see `FileSystem.trusts`."""
        self.look(path, Aspect.TRUST)
        return self.files.trusts(path)

    def capabilities(self, path: bytes) -> str:
        """Return the capabilities of the file `path`: see `FileSystem.capabilities`."""
        self.look(path, Aspect.CAPABILITIES)
        return self.files.capabilities(path)

    def setting(self, name: str) -> str:
        """Return the text of the base image's setting `name`; nothing where there is none."""
        self.look(name.encode("utf-8", "surrogateescape"), Aspect.SETTING)
        return self.files.image.settings.get(name, "")

    def has_access_list(self, path: bytes) -> bool:
        """Tell whether the file or directory `path` has an access control list."""
        self.look(path, Aspect.ACL)
        return self.files.has_access_list(path)
