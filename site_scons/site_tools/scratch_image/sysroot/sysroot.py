"""The tree of a base that is not the machine's root.

All but a directory of the user are unpacked to a tree of our own, with a file beside it for owners
and modes that its file system cannot keep. A tree takes its place when it is whole.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from ..errors import InputError, SysrootError
from ..fs.digest import Digest
from ..fs.lookup import FileKind
from ..fs.paths import join
from ..fs.root import Root, WatchedFileSystem
from ..fs.unpacked_tree import BaseImage, lost_owners
from .origin import Origin, has_packages, installed_packages
from .unpack import Unpacking, remove

_LIBRARIES = (b"/lib", b"/lib64", b"/lib32", b"/libx32", b"/usr/lib", b"/usr/lib64")
_LOADER = re.compile(rb"ld[a-z0-9_-]*\.so\.[0-9]")


@dataclass(frozen=True, slots=True)
class UnpackedTree:
    """A tree that was unpacked."""

    content: Digest
    """Of its listing: paths, kinds, modes, owners, contents."""
    paths: int
    files: Mapping[bytes, bytes]
    """Files that belong to it, with their text."""


def check(directory: bytes, named: str) -> None:
    """Raise SysrootError when no program can run in the tree `directory`: it has no loader.

    The message calls the tree `named`.
    """
    root = Root(WatchedFileSystem(directory))
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
def unpacked_tree(
    origin: Origin, tree: bytes, root: Root, sources: Sequence[bytes]
) -> Iterator[UnpackedTree]:
    """Unpack `origin` beside `tree`; give the new tree, which then replaces `tree`.

    It does so when the block ends well; else the earlier tree stays, and nothing more.
    SysrootError, or what the origin raises, when it cannot be made; OSError when it cannot be
    written. `tree` is absolute.
    """
    work = temporary_tree(tree)
    _clear(work)
    os.mkdir(work)
    try:
        unpacking = Unpacking(join(work, b"tree"), whole_system=True)
        _fill(unpacking, origin, root, sources, work)
        check(unpacking.directory, f"of {origin}")
        lost = lost_owners(unpacking.directory, unpacking.wanted, unpacking.capabilities)
        listing = list(unpacking.listing())
        files = {owners_file(tree): lost.text(), **origin.settle(unpacking.directory)}
        config = origin.config(root)
        if config is not None:
            files[image_file(tree)] = _base_image(origin, config, unpacking.directory).text()
        yield UnpackedTree(Digest.of(b"".join(listing)), len(listing), files)
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


def _base_image(origin: Origin, config: Mapping[str, Any], tree: bytes) -> BaseImage:
    """Return the image that was unpacked to `tree`, with the settings in its `config` (hostile)."""
    from ..image import base_settings

    try:
        settings = base_settings.texts(base_settings.parse(config))
    except (ValueError, InputError) as error:
        raise SysrootError(
            f"use the settings of {origin}", str(error), "change them, or give its tar as source"
        ) from error
    seen = {}
    for directory, _, names in os.walk(tree):
        for name in names:
            found = os.lstat(join(directory, name))
            if stat.S_ISREG(found.st_mode):
                seen[found.st_ino] = found.st_size
    packages = len(installed_packages(tree)) if has_packages(tree) else 0
    return BaseImage(str(origin), settings, len(seen), sum(seen.values()), packages)


def _clear(directory: bytes) -> None:
    if os.path.lexists(directory):
        remove(directory)


def owners_file(tree: bytes) -> bytes:
    """Return the file with the owners and modes that the file system of `tree` could not keep."""
    return tree + b".owners"


def image_file(tree: bytes) -> bytes:
    """Return the file with the settings of the image that `tree` was made of."""
    return tree + b".image"


def temporary_tree(tree: bytes) -> bytes:
    """Return the directory in which a new `tree` is made."""
    directory, name = os.path.split(tree)
    return join(directory, b".%s.new" % name)
