"""The refusal of secrets in a file list: by path, and by content."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from ..errors import ListError
from ..fs.lookup import FileKind
from ..fs.overlay import Overlay
from ..fs.paths import is_under, show
from ..fs.root import Aspect
from . import secret_search
from .entry import Entry
from .secret_paths import secret_rule

_MOST = 20
"""Secrets that one message names."""


def refuse_paths(
    view: Overlay, requesters: Mapping[bytes, Collection[str]], allow: Collection[bytes]
) -> None:
    """Raise ListError for the paths among `requesters` that no image gets.

    `requesters` has the reasons or lines that request each path; `allow` has the paths that may be
    listed, with all below them.
    """
    secrets = []
    for path in sorted(requesters):
        rule = _secret_rule(view, path)
        if rule and not is_under(path, *allow):
            who = ", ".join(sorted(requesters[path]))
            secrets.append(f"{show(path)} is a secret ({rule}), requested by {who}")
    _refuse(secrets)


def refuse_content(view: Overlay, entries: Iterable[Entry], allow: Collection[bytes]) -> None:
    """Raise ListError for the files among `entries` that hold secrets, but for those in `allow`.

    A file as its Debian package ships it is trusted.
    """
    secrets = []
    for entry in entries:
        if entry.kind != "file" or entry.text or is_under(entry.path, *allow):
            continue
        place = view.source(entry.source) if entry.source else entry.path
        view.below.look(place, Aspect.SECRET)
        found = secret_search.in_file(view.below.files, place)
        if found:
            who = ", ".join(entry.reasons)
            secrets.append(f"{show(entry.path)} holds a secret ({found}), requested by {who}")
    _refuse(secrets)


def _refuse(secrets: Sequence[str]) -> None:
    more = len(secrets) - _MOST
    if secrets:
        raise ListError(
            "list secrets",
            ", ".join([*secrets[:_MOST], *([f"and {more} more"] if more > 0 else [])]),
            "leave them out, or add their paths to IMAGE_ALLOW if they belong into the image",
        )


def _secret_rule(view: Overlay, path: bytes) -> str:
    """Return the rule that keeps `path` out of images, by its own name or its source's."""
    status = view.files.status(path)
    if status is not None and status.kind is FileKind.DIR:
        return ""
    own = view.files.is_own(path)
    # A sysroot may be unpacked in a home directory.
    source = view.files.host_path(path).removeprefix(view.files.base.rstrip(b"/"))
    return secret_rule(path, own=own) or secret_rule(source, own=own)
