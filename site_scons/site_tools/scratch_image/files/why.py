"""Why a path is in an image, or is not: the chains of reasons in the texts of its steps.

The file list names for each path who asks for it directly. Here these reasons are followed up to
something that the user alone has requested: the program, a run, a line of an extra list, a
preset.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..elf.loader_cache import CACHE
from ..fs.lookup import MAX_LINKS, FileKind
from ..fs.paths import is_under, join, show, unescape
from ..trace.record import Record, Use
from . import imports
from .entry import Entry
from .exclusions import is_host_noise, is_made_by_runtime
from .finding import Examined
from .presets import ListedImage, presets_with
from .secret_search import secret_rule

if TYPE_CHECKING:
    from ..fs.overlay import Overlay
    from .list_options import ListOptions
    from .list_sources import Sources

_BECAUSE_OF = {
    "needed-by": "needs",
    "loader-of": "is started by",
    "interpreter-of": "is a script of",
    "target-of": "leads to",
}
"""Reasons that name another path, and what that one does."""

_BEGINNINGS = {
    "program": "the program is {path}",
    "staged": "the project places {path}",
    "run": "run {name} used {path}",
    "extra": "extra list {name} asks for {path}",
    "preset": "preset {name} brings {path}",
    "listed-by": "run {name} listed the directory of {path}, and IMAGE_LISTED asks for all of that",
    "output-dir": "run {name} wrote into {path}",
    "packages": "{path} tells scanners of packages",
}
"""Reasons that stand for themselves."""

_OF_RUNS = ("run:", "output-dir:")
"""A run shows that a file was used and not which file used it; any other chain says more."""


@dataclass(frozen=True, slots=True)
class Chain:
    """How one reason brings a path."""

    reason: str
    """The reason, as in a file list, that stands at its beginning."""
    paths: tuple[bytes, ...]
    """From what that reason asks for to the path in question."""
    words: tuple[str, ...]
    """The relation of each path but the last to the next one."""


class Reasons:
    """The reasons of a file list, to be followed."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        """Take the entries of one list."""
        self.entries = {entry.path: entry for entry in entries}

    def place(self, path: bytes) -> bytes:
        """Return where `path` lies when the listed links above it are followed."""
        done, rest, links = b"/", _names(path), 0
        while rest:
            name = rest.pop(0)
            here = done.rpartition(b"/")[0] or b"/" if name == b".." else join(done, name)
            entry = self.entries.get(here)
            if rest and entry is not None and entry.kind == "link" and links < MAX_LINKS:
                links += 1
                rest[:0] = _names(entry.target)
                done = b"/" if entry.target[:1] == b"/" else done
            else:
                done = here
        return done

    def chains(self, path: bytes) -> Iterator[Chain]:
        """Yield for each reason of the listed `path` the shortest chain that it ends.

        All chains would be too many where libraries need each other. One that leads through
        `path` itself tells nothing, and is left out.
        """
        for reason in self.entries[path].reasons:
            user = self._user(reason)
            if user is None:
                yield Chain(reason, (path,), ())
                continue
            above = self._shortest(user, path, _OF_RUNS) or self._shortest(user, path, ())
            if above is not None:
                yield Chain(above.reason, (*above.paths, path), (*above.words, _does(reason)))

    def _user(self, reason: str) -> bytes | None:
        """Return the listed path that `reason` names; None for one that stands for itself."""
        word, _, name = reason.partition(":")
        place = self.place(unescape(name.encode())) if word in _BECAUSE_OF else b""
        return place if place in self.entries else None

    def _shortest(self, path: bytes, without: bytes, but: tuple[str, ...]) -> Chain | None:
        """Return the shortest chain to `path` that does not begin with one of the words `but`."""
        seen = {without, path}
        queue = deque([Chain("", (path,), ())])
        while queue:
            chain = queue.popleft()
            for reason in self.entries[chain.paths[0]].reasons:
                user = self._user(reason)
                if user is None and not reason.startswith(but):
                    return Chain(reason, chain.paths, chain.words)
                if user is not None and user not in seen:
                    seen.add(user)
                    words = (_does(reason), *chain.words)
                    queue.append(Chain("", (user, *chain.paths), words))
        return None

    def origins(self) -> dict[bytes, frozenset[str]]:
        """Return for each path all reasons that stand at the beginning of a chain to it."""
        begins: dict[str, list[bytes]] = {}
        users: dict[bytes, list[bytes]] = {}
        for path, entry in self.entries.items():
            for reason in entry.reasons:
                user = self._user(reason)
                if user is None:
                    begins.setdefault(reason, []).append(path)
                else:
                    users.setdefault(user, []).append(path)
        found = dict.fromkeys(self.entries, frozenset[str]())
        # Most paths have the reasons of others: they share one set.
        joined: dict[tuple[frozenset[str], str], frozenset[str]] = {}
        for reason, todo in begins.items():
            while todo:
                path = todo.pop()
                have = found[path]
                if reason not in have:
                    found[path] = joined.setdefault((have, reason), have | {reason})
                    todo += users.get(path, ())
        return found


def _names(path: bytes) -> list[bytes]:
    return [name for name in path.split(b"/") if name not in (b"", b".")]


def _does(reason: str) -> str:
    return _BECAUSE_OF[reason.partition(":")[0]]


def explain(
    view: Overlay, entries: Iterable[Entry], sources: Sources, options: ListOptions, path: bytes
) -> Iterator[str]:
    """Yield a line whether `path` is in the list `entries` of `sources`, and lines that say why."""
    reasons = Reasons(entries)
    listed = reasons.place(path)
    if listed in reasons.entries:
        yield f"{show(listed)} is in the image"
        yield from presence(reasons, listed, sources.lines(view))
        return
    yield f"{show(path)} is not in the image"
    found = view.walk(path, follow=False)
    exists = found.status is not None and found.status.kind is not FileKind.OTHER
    listed_entries = tuple(reasons.entries.values())
    image = ListedImage(listed_entries, options.user, options.locales, options.accounts)
    examined = Examined(view, image.entries, tuple(sources.runs))
    names = (
        (*presets_with(view, image, found.real), *imports.presets_with(examined, found.real))
        if exists
        else ()
    )
    yield from absence(Absent(found.real, exists, names, sources.left_out), sources.runs)


def presence(reasons: Reasons, path: bytes, lines: Mapping[bytes, Sequence[str]]) -> Iterator[str]:
    """Yield a line for each chain that brings the listed `path`.

    `lines` has, by link-free path, the lines of extra lists that ask for it, ``FILE:LINE``.
    """
    for chain in reasons.chains(path):
        if chain.reason == "parent":
            yield _holds(reasons, path)
        else:
            yield _format_chain(chain, lines.get(chain.paths[0], ()))


def _format_chain(chain: Chain, lines: Sequence[str]) -> str:
    word, _, name = chain.reason.partition(":")
    shown = [*map(show, chain.paths[:-1]), "it"]
    steps = [f", which {does} {path}" for does, path in zip(chain.words, shown[1:], strict=True)]
    beginning = _BEGINNINGS.get(word, f"{chain.reason} brings {{path}}")
    names = ", ".join(lines) if word == "extra" and lines else name
    return beginning.format(name=names, path="".join([shown[0], *steps]))


def _holds(reasons: Reasons, directory: bytes) -> str:
    """Return the line about a directory that is there for what lies below it."""
    below = [path for path in reasons.entries if path != directory and is_under(path, directory)]
    return f"{len(below)} paths of the image lie below it, {show(min(below, default=b''))} first"


@dataclass(frozen=True, slots=True)
class Absent:
    """The facts about a path that is not in an image."""

    path: bytes
    """Where it lies, or else the first path on the way to it that does not exist."""
    exists: bool
    """Whether it could be packed."""
    presets: Sequence[str] = ()
    """Presets that would bring it."""
    left_out: Sequence[re.Pattern[bytes]] = ()
    """The paths that extra lists leave out."""


def absence(absent: Absent, runs: Iterable[tuple[str, Record]]) -> Iterator[str]:
    """Yield a line for what each of the `runs`, a name and a record each, did with the path.

    The last line tells what would bring it.
    """
    used = False
    for name, record in runs:
        for use in record.uses:
            if use.path == absent.path:
                used = True
                yield f"run {name} {_did(use.kind, show(absent.path))}"
    if not used:
        yield f"no run looked for {show(absent.path)}"
    yield _mend(absent)


def _did(kind: Use, path: str) -> str:
    if kind is Use.ABSENT:
        return f"looked for {path} and did not find it"
    return f"wrote {path}: what a run makes stays out" if kind is Use.WRITE else f"used {path}"


def _mend(absent: Absent) -> str:
    path = show(absent.path)
    if not absent.exists:
        return f"there is no {path} that could be packed; install or make it"
    if is_made_by_runtime(absent.path):
        return "each container has its own, and no image"
    if absent.path == CACHE:
        return "it comes only where a listed library is found by nothing else"
    secret = secret_rule(absent.path)
    if secret:
        return f"it is a secret ({secret}); IMAGE_ALLOW and a line {path} in an extra list bring it"
    if any(rule.fullmatch(absent.path) for rule in absent.left_out):
        return "an extra list leaves it out; take that line away"
    rule = "a rule keeps it from what runs bring; " if is_host_noise(absent.path) else ""
    presets = "".join(f", or the preset {name}" for name in absent.presets)
    return f"{rule}a line {path} in an extra list brings it{presets}"
