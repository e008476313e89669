"""Nodes of SCons: the place of a file, its stem and suffix, and the step that makes it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import SCons.Errors
import SCons.Node
import SCons.Node.FS

from ..errors import InputError
from .variables import read

_Make = Callable[[], Iterable[Any]]


class LazyNodes(SCons.Node.NodeList):  # type: ignore[misc]  # SCons has no types
    """Nodes that are made when somebody looks at them: a list as builders return it."""

    def __init__(self, nodes: Iterable[Any] = (), make: _Make = tuple) -> None:
        """Take `nodes`, and those that `make` returns when they are needed."""
        self._nodes = list(nodes)
        self._make = make

    @property
    def data(self) -> list[Any]:
        """The list itself, in which `UserList` looks."""
        make, self._make = self._make, tuple
        self._nodes += make()
        return self._nodes

    @data.setter
    def data(self, nodes: list[Any]) -> None:
        self._nodes, self._make = nodes, tuple

    def __copy__(self) -> LazyNodes:
        """Return a list of the same nodes."""
        return LazyNodes(self.data)


def host_path(node: Any) -> bytes:
    """Return the path of the File `node`; of a source that may be in its source directory."""
    return os.fsencode(node.rfile().get_abspath())


def staged_host_path(node: Any) -> bytes:
    """Return the path of the File `node` that is to be staged.

    Where variant and source directory are on two file systems, or the project wants it so, SCons
    links to sources by symbolic links. An image gets the source, never such a link.
    """
    path, source = host_path(node), node.srcnode()
    made_by_scons = source is not node and not node.is_derived() and os.path.islink(path)
    return host_path(source) if made_by_scons else path


def staged_directory(node: Any) -> bytes:
    """Return the path of the Dir `node` that is to be staged: that of the build, or its source.

    InputError where files of it lie in both.
    """
    source = node.srcnode()
    is_made = any(True for _ in made_below(node))
    if source is not node and is_made and os.path.isdir(source.rdir().get_abspath()):
        raise InputError(
            f"stage {node}",
            f"some of its files are built and others lie in {source}",
            "Install all of them into one directory, and stage that",
        )
    found = node if is_made else source.rdir()
    return os.path.realpath(os.fsencode(found.get_abspath()))


def is_derived(node: Any) -> bool:
    """Tell whether `node` is a file that something builds."""
    if node is None or isinstance(node, SCons.Node.FS.Dir):
        return False
    return bool(node.has_builder() or node.side_effect)


def made_below(node: Any) -> Iterator[Any]:
    """Yield the nodes that something builds at or below `node`, but for those of our steps."""
    if not isinstance(node, SCons.Node.FS.Dir):
        if is_derived(node):
            yield node
        return
    if node.has_explicit_builder():
        yield node
    for name, entry in sorted(node.entries.items()):
        if name not in (".", "..") and not hasattr(entry.attributes, "step"):
            yield from made_below(entry)


def kind_of(node: Any) -> str:
    """Return in words the kind of a `node` that is no file; nothing for a file."""
    if isinstance(node.disambiguate(), SCons.Node.FS.File):
        return ""
    kinds = {"Dir": "a directory", "Alias": "an alias", "ImageAlias": "an alias"}
    return kinds.get(type(node).__name__, "a value")


def find_node(make: Callable[[str], Any], name: str, what: str, wanted: str) -> Any:
    """Return the node that `make` gives for `name`; InputError where it is of another kind."""
    try:
        return make(name)
    except TypeError as error:
        raise InputError(f"use {what} {name}", "it is of another kind", f"name {wanted}") from error


def step_of(node: Any) -> Any:
    """Return the step that makes `node`; None when none of ours does."""
    return getattr(node.attributes, "step", None)


_NOTE = re.compile(rb"\.sconsign.*|\.seal|\.(?P<owner>.+)\.(?:footprint|lock|seal|.*\.new)")
"""Names of files that SCons and our steps write beside targets; `owner` is the target's name."""

_BESIDE = re.compile(
    rb"(.+)\.(?:blobs|iid|loaded|pushed|tested|report\.html|(?:spdx|cdx|seccomp)\.json|debug\..+)"
)
"""Names of targets that are not declared in each build; a group is the stem."""

_MAIN = (b".layers", b".oci.tar", b".index.oci.tar")
"""Suffixes of targets, one of which is declared where one of these may be."""


def is_step_file(fs: Any, path: bytes) -> bool:
    """Tell whether `path`, absolute, is a target of one of our steps, or a note beside one."""
    directory, name = os.path.split(path)
    if note := _NOTE.fullmatch(name):
        return not note["owner"] or is_step_file(fs, os.path.join(directory, note["owner"]))
    beside = _BESIDE.fullmatch(name)
    names = [name, *(beside[1] + suffix for suffix in _MAIN if beside)]
    nodes = [existing_node(fs, os.fsdecode(os.path.join(directory, each))) for each in names]
    return any(node is not None and step_of(node) is not None for node in nodes)


def is_beside(name: str) -> bool:
    """Tell whether `name` is that of a target that is not declared in each build."""
    return _BESIDE.fullmatch(os.fsencode(name)) is not None


def existing_node(fs: Any, path: str) -> Any:
    """Return the node that the project has at `path`; None where there is none."""
    try:
        return fs.Entry(path, create=False)
    except (SCons.Errors.UserError, TypeError):
        directory, name = os.path.split(path)
    # There may be a node as soon as somebody looks into the directory (see `deferral`).
    with suppress(SCons.Errors.UserError, KeyError, TypeError):
        return fs.Dir(directory, create=False).entries[name]
    return None


def top_of(node: Any) -> bytes:
    """Return the project's directory."""
    return os.fsencode(node.fs.Top.get_abspath())


def repositories_of(node: Any) -> tuple[bytes, ...]:
    """Return the other directories in which SCons looks for the project's files."""
    return tuple(os.fsencode(each.get_abspath()) for each in node.fs.Top.get_all_rdirs()[1:])


def image_path(node: Any, env: Any) -> bytes:
    """Return the path in the image of the program `node`: that of its staging, or its own."""
    for path, staged in read(env, "IMAGE_STAGED").items():
        if staged.node is node:
            return bytes(path)
    return host_path(node)


def sibling(node: Any, suffix: str) -> Any:
    """Return the file beside `node`, whose name has one suffix, that has `suffix` instead."""
    return node.dir.File(os.path.splitext(node.name)[0] + suffix)


def suffix(node: Any) -> str:
    """Return the last suffix of the file `node`."""
    return str(node.get_suffix())


def stem(node: Any, suffixes: Sequence[str]) -> str:
    """Return the name of the file `node` without the first of `suffixes` that it has."""
    name = os.path.basename(str(node))
    return next(
        (name.removesuffix(each) for each in suffixes if each and name.endswith(each)), name
    )
