"""Merging: requests for paths become the entries of one file list."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from ..elf.loader_cache import CACHE
from ..elf.search_path import Loaders, needs_cache
from ..errors import ListError
from ..fs.lookup import FileKind, Status
from ..fs.overlay import Overlay, Placed
from ..fs.paths import escape, show
from ..fs.root import Aspect, Root
from .entry import Entry
from .exclusions import is_host_noise, is_made_by_runtime
from .request import Request
from .secret_refusal import refuse_paths

_Paths = tuple[tuple[bytes, str], ...]
"""The paths that a request brings, each with its reason: links on the way, then the end."""


class Merge:
    """A file list that grows: a request is looked up again only where its paths have changed.

    Every symbolic link on the way to a requested path is listed, with its target, and so are the
    directories above. The order of requests does not matter.
    """

    def __init__(
        self,
        view: Overlay,
        allow: Collection[bytes] = (),
        left_out: Sequence[re.Pattern[bytes]] = (),
    ) -> None:
        """Take the view that has the files.

        Paths that a pattern of `left_out` fully matches are not listed. Secrets are an error, but
        for the paths in `allow` and all below them.
        """
        self._view = view
        self._loaders = Loaders(view)
        self._allow = allow
        self._left_out = left_out
        self._placed: dict[bytes, Placed] = {}
        self._found: dict[Request, _Paths | None] = {}
        """By request; None: it has to be looked up."""
        self._passed: set[bytes] = set()
        """Paths that may be listed: they are no secrets, or are allowed."""
        self._entries: dict[bytes, Entry] = {}
        self._linked: dict[bytes, Status] = {}
        """Of the files with several names."""

    def extend(self, requests: Iterable[Request]) -> tuple[Entry, ...]:
        """Add `requests`, and return the sorted entries of all requests so far.

        ListError when a required path cannot be listed, or a path is a secret.
        """
        for request in requests:
            self._found.setdefault(request)
        self._forget(self._newly_placed())
        for request, paths in self._found.items():
            if paths is None:
                self._found[request] = tuple(self._look_up(request))
        reasons = self._reasons()
        self._refuse_secrets(reasons)
        _add_parents(reasons)
        ordered = sorted(reasons, key=lambda path: path.split(b"/"))
        entries = [self._entry(path, reasons[path]) for path in ordered]
        return tuple(self._with_hard_links(entries))

    def _newly_placed(self) -> set[bytes]:
        """Return the paths at which files were placed since the last call."""
        before, self._placed = self._placed, dict(self._view.files.placed)
        return {path for path, placed in self._placed.items() if before.get(path) is not placed}

    def _forget(self, changed: set[bytes]) -> None:
        """Forget all that files placed at the paths `changed` may have made wrong."""
        below = tuple(path + b"/" for path in changed)
        for request, paths in self._found.items() if changed else ():
            touched = (path in changed or path.startswith(below) for path, _ in paths or ())
            if not self._has_end(paths or ()) or any(touched):
                self._found[request] = None
        for path in changed:
            self._entries.pop(path, None)
            self._linked.pop(path, None)
        self._passed -= changed

    def _has_end(self, paths: _Paths) -> bool:
        """Tell whether a lookup ended at a file or directory that is listed."""
        status = self._view.files.status(paths[-1][0]) if paths else None
        return status is not None and status.kind is not FileKind.LINK

    def _look_up(self, request: Request) -> Iterator[tuple[bytes, str]]:
        for path, reason in _paths(self._view, request):
            if self._is_left_out(path, reason):
                return
            yield path, reason

    def _is_left_out(self, path: bytes, reason: str) -> bool:
        """Tell whether `path` stays out, and with it the target of a link."""
        if is_made_by_runtime(path) or any(rule.fullmatch(path) for rule in self._left_out):
            return True
        if not reason.startswith("run:") or not is_host_noise(path):
            return False
        status = self._view.files.status(path)
        return status is not None and status.kind is not FileKind.DIR

    def _reasons(self) -> dict[bytes, set[str]]:
        """Return the reasons of each requested path."""
        reasons: dict[bytes, set[str]] = {}
        for paths in self._found.values():
            for path, reason in paths or ():
                reasons.setdefault(path, set()).add(reason)
        if CACHE in reasons and not needs_cache(self._view, self._loaders, sorted(reasons)):
            del reasons[CACHE]
        return reasons

    def _refuse_secrets(self, paths: Collection[bytes]) -> None:
        """Raise ListError for the secrets among `paths`, as far as they are new."""
        fresh: dict[bytes, set[str]] = {path: set() for path in paths if path not in self._passed}
        for request, found in self._found.items() if fresh else ():
            for path, _ in found or ():
                if path in fresh:
                    fresh[path].add(request.line or request.reason)
        refuse_paths(self._view, fresh, self._allow)
        self._passed.update(fresh)

    def _entry(self, path: bytes, reasons: set[str]) -> Entry:
        if path not in self._entries:
            self._entries[path] = self._describe(path)
        entry, ordered = self._entries[path], tuple(sorted(reasons - {"parent"} or reasons))
        if entry.reasons != ordered:
            self._entries[path] = entry = replace(entry, reasons=ordered)
        return entry

    def _describe(self, path: bytes) -> Entry:
        """Return the entry of `path`, still without reasons."""
        view = self._view
        status = view.status(path)
        if status is None:
            raise ListError(f"list {show(path)}", "it is gone", "build again, or put it back")
        placed = view.files.placed.get(path, Placed(status))
        is_file = status.kind is FileKind.FILE
        capable = view.capabilities(path) if is_file and status.mode & 0o111 else ""
        linked = view.status(path, Aspect.HARD) if is_file else None
        if linked is not None and linked.names > 1:
            self._linked[path] = linked
        return Entry(
            status.kind.value, status.mode, status.uid, status.gid, path, status.target,
            (), placed.source if is_file else b"", placed.text, capable,
        )  # fmt: skip

    def _with_hard_links(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Yield `entries`: of several names of one file the first is the file."""
        first: dict[tuple[int, int], bytes] = {}
        for entry in entries:
            status = self._linked.get(entry.path)
            if status is not None and first.setdefault(status.inode, entry.path) != entry.path:
                yield replace(entry, kind="hard", target=first[status.inode])
            else:
                yield entry


def merge(view: Overlay, requests: Iterable[Request]) -> tuple[Entry, ...]:
    """Return the file list of `requests` alone; ListError as for `Merge.extend`."""
    return Merge(view).extend(requests)


def _paths(root: Root, request: Request) -> Iterator[tuple[bytes, str]]:
    """Yield the paths that `request` brings, each with its reason."""
    named = root.walk(request.path, follow=False)
    found = root.walk(request.path)
    if named.status is None:
        if request.required:
            raise ListError(
                f"list {show(request.path)}",
                f"it is gone ({request.reason})",
                "build again, or put it back",
            )
        return
    for passed in (*named.links, *found.left):
        yield passed, request.reason
    reason = request.reason
    if named.status.kind is FileKind.LINK:
        yield named.real, reason
        reason = f"target-of:{escape(named.real).decode()}"
        for link in found.links[len(named.links) + 1 :]:
            yield link, reason
    if found.status is None:
        return
    if found.status.kind is not FileKind.OTHER:
        yield found.real, reason
    elif request.required and not is_made_by_runtime(found.real):
        raise ListError(
            f"list {show(request.path)}",
            f"it is a device, FIFO or socket ({request.reason})",
            "leave it out, the container's runtime has to provide it",
        )


def _add_parents(reasons: dict[bytes, set[str]]) -> None:
    for path in list(reasons):
        above = os.path.dirname(path)
        while above != b"/" and above not in reasons:
            reasons[above] = {"parent"}
            above = os.path.dirname(above)
