"""Sharing: results of steps, looked up in a store and kept there.

A result is used when, and only when, everything that its steps would look at here has the state
that it had where the result was made. Nothing that a store does fails a build: the first failure
of a store is the last time that it is used.
"""

from __future__ import annotations

import re
import threading
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ..fs.root import Aspect
from .entry import BlobDigest, CacheEntry, EntryError, Key
from .key import result_entry, sets_entry, state_lines, strong_key
from .path_set import (
    MAX_SETS,
    Checkout,
    PathSet,
    States,
    UnsharedError,
    differing_paths,
    marks,
    read_path_sets,
    write_path_sets,
)
from .result import StepResult, read_file, read_result, write_file, write_result
from .signature import Signatures
from .store import Store, StoreError
from .writer import Writer

_DENIED = re.compile(rb"= -1 E(?:ACCES|PERM)\b")
"""A call in the text of strace that another user might have been allowed."""

_PATIENCE = 30.0
"""Seconds at the end of a build for results that are still to be sent."""

_NEARER = "let it be nearer, or only read from it"

Looks = Mapping[tuple[bytes, Aspect], str]


class Taken(Protocol):
    """The looks of one step, with the states that they have here."""

    @property
    def states(self) -> States:
        """The states."""


_T = TypeVar("_T", bound=Taken)


@dataclass(frozen=True)
class Unit(Generic[_T]):
    """The steps that have one entry: all from the runs of an image to its list, or a single one."""

    title: str
    weak_keys: Iterable[str]
    """Its weak keys, one for each kind of view of its runs, the best first."""
    checkout: Checkout
    counts: tuple[int, ...]
    """Number of targets of each step."""
    take: Callable[[Sequence[Looks]], Sequence[_T]]
    """Takes the states of the looks of each step; UnsharedError where there are none."""


@dataclass(frozen=True, slots=True)
class Found(Generic[_T]):
    """The results that a cache has for a unit."""

    results: Sequence[StepResult]
    taken: Sequence[_T]


@dataclass
class Counts:
    """The use that a cache was of."""

    steps: int = 0
    """Steps that had to run, or to come from the cache."""
    hits: int = 0
    """Those that came from it."""
    received: int = 0
    """Bytes."""
    seconds: float = 0.0
    """Time that these steps took where they ran."""


class Share:
    """A store, and what is done with it in one build."""

    def __init__(
        self,
        name: str,
        store: Store,
        signatures: Signatures,
        tell: Callable[[str], None],
        debug: Callable[[str], None],
    ) -> None:
        """Use `store`, called `name`; `tell` prints a line, and `debug` one about a look-up."""
        self._name = name
        self._store = store
        self._signatures = signatures
        self._tell = tell
        self._debug = debug
        self._lock = threading.Lock()
        self._spoilt: set[str] = set()
        """Weak keys of which something in the store is damaged."""
        self._writer = Writer()
        self.is_off = False
        self.is_read_only = False
        self.counts = Counts()

    # Looking up

    def look_up(self, unit: Unit[_T]) -> Found[_T] | None:
        """Return the results of `unit`; None where the store has none for what is here."""
        for weak in unit.weak_keys:
            with self._reaching():
                if not self.is_off and (found := self._find(unit, weak)):
                    return found
        return None

    def _find(self, unit: Unit[_T], weak: str) -> Found[_T] | None:
        sets = self._path_sets(unit.title, weak)
        nearest: list[str] | None = None
        for path_set, last in sets:
            with self._distrusting(unit.title, weak):
                taken, lines = _take(unit, path_set)
                strong = strong_key(weak, path_set, unit.checkout, lines)
                entry = self._entry(result_entry(strong))
                if entry:
                    results = read_result(entry, strong, unit.counts, self._blob)
                    self._debug(f"{unit.title}: found {strong[:12]}")
                    return Found(results, taken)
                differing = differing_paths(lines, last)
                if nearest is None or len(differing) < len(nearest):
                    nearest = differing
        self._debug(f"{unit.title}: {_miss_text(len(sets), nearest)}")
        return None

    def _path_sets(self, title: str, weak: str) -> list[tuple[PathSet, bytes]]:
        found: list[tuple[PathSet, bytes]] = []
        with self._distrusting(title, weak):
            entry = self._entry(sets_entry(weak))
            found += read_path_sets(entry.stdout) if entry else []
        return found

    @contextmanager
    def _distrusting(self, title: str, weak: str) -> Iterator[None]:
        """Take what is not as it should be for nothing, and write it again later."""
        try:
            yield
        except EntryError as error:
            self._spoilt.add(weak)
            self._debug(f"{title}: not used: {error}")
        except UnsharedError as error:
            self._debug(f"{title}: not used: {error}")

    def _entry(self, key: Key) -> CacheEntry | None:
        message = self._store.entry(key.digest)
        self._count(len(message or b""))
        if message is None:
            return None
        entry = CacheEntry.read(message)
        if not self._signatures.accepts(key.digest, entry):
            raise EntryError("an entry has no signature of a key that is trusted")
        return entry

    def _blob(self, digest: BlobDigest) -> bytes:
        found = self._store.blob(digest)
        if found is None:
            raise EntryError("a blob is missing in the cache")
        if BlobDigest.of(found) != digest:
            raise EntryError("a blob has another content than its digest says")
        self._count(len(found))
        return found

    def _count(self, received: int) -> None:
        with self._lock:
            self.counts.received += received

    def count_step(self, hit: StepResult | None) -> None:
        """Count a step that ran, or one whose result is a `hit`."""
        with self._lock:
            self.counts.steps += 1
            if hit:
                self.counts.hits += 1
                self.counts.seconds += hit.seconds

    # Keeping

    def keep(
        self, unit: Unit[_T], weak: str, states: Sequence[States], results: Sequence[StepResult]
    ) -> None:
        """Keep the `results` of steps that have found the `states`, if these mean anything.

        They are sent a little later; see `finish`.
        """
        if self.is_off or self.is_read_only:
            return
        texts = [text for each in results for text in (*each.outputs, each.lines.encode())]
        is_bound = any(name in text for name in unit.checkout.names for text in texts)
        is_personal = any(map(_DENIED.search, texts))
        try:
            path_set = PathSet.of(states, unit.checkout, is_bound=is_bound, is_personal=is_personal)
            lines = state_lines(states, unit.checkout, is_bound=is_bound)
        except UnsharedError as error:
            self._debug(f"{unit.title}: not kept: {error}")
            return
        strong = strong_key(weak, path_set, unit.checkout, lines)

        def put() -> None:
            with self._reaching():
                if not self.is_read_only:
                    made = write_result(strong, results)
                    self._send(weak, result_entry(strong), made.entry, made.blobs)
                    self._add(unit.title, weak, path_set, marks(lines))
                    self._debug(f"{unit.title}: kept {strong[:12]}")

        self._writer.add(sum(map(len, texts)), put)

    def finish(self, seconds: float) -> bool:
        """Wait until all results are in the store; say if `seconds` were enough."""
        return self._writer.finish(seconds)

    # Large files

    def fetch_file(self, title: str, key: str, path: bytes) -> float | None:
        """Write the file of `key` to `path`; return the seconds that it took to make.

        None where the store has none.
        """
        with self._reaching(), self._distrusting(title, key):
            if not self.is_off and (entry := self._entry(result_entry(key))):
                digests, seconds = read_file(entry, key)
                with open(path, "wb") as file:
                    file.writelines(map(self._blob, digests))
                self._debug(f"{title}: found {key[:12]}")
                return seconds
        self._debug(f"{title}: no result of the same step and sources")
        return None

    def keep_file(self, title: str, key: str, path: bytes, seconds: float) -> None:
        """Keep the file `path` as that of `key`; it took `seconds` to make."""
        if self.is_off or self.is_read_only:
            return
        with self._reaching():
            made = write_file(key, path, seconds)
            self._send(key, result_entry(key), made.entry, made.blobs)
            self._debug(f"{title}: kept {key[:12]}")

    def _add(self, title: str, weak: str, path_set: PathSet, last: bytes) -> None:
        """Make `path_set` the first one of the weak key `weak`."""
        known = self._path_sets(title, weak)
        others = [each for each in known if each[0] != path_set]
        sets = [(path_set, last), *others][:MAX_SETS]
        if sets != known:
            self._send(weak, sets_entry(weak), CacheEntry(stdout=write_path_sets(sets)), {})

    def _send(
        self, weak: str, key: Key, entry: CacheEntry, blobs: Mapping[BlobDigest, bytes]
    ) -> None:
        message = self._signatures.sign(key.digest, entry).write()
        resend = weak in self._spoilt
        # None is read before it is sent.
        everything = ChainMap({**key.blobs}, blobs)  # type: ignore[arg-type]  # none is written
        self._store.keep(key.digest, message, everything, resend=resend)

    # Failures

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Give the store up when it cannot be reached, or stop writing when that is refused."""
        try:
            yield
        except StoreError as error:
            with self._lock:
                is_first = not (self.is_read_only if error.writing else self.is_off)
                self.is_read_only = True
                self.is_off = self.is_off or not error.writing
            if is_first and error.writing:
                self._debug(f"cannot write to cache {self._name}: {error.cause}; {error.hint}")
            elif is_first:
                self._tell(f"cannot use cache {self._name}: {error.cause}; {error.hint}")

    def close(self) -> None:
        """Send what is still to be sent, for a while, and give the store's connections back."""
        if not self.finish(_PATIENCE):
            self.is_off = self.is_read_only = True
            self._tell(f"cannot write to cache {self._name}: it is too slow; {_NEARER}")
        self._store.close()


def _take(unit: Unit[_T], path_set: PathSet) -> tuple[Sequence[_T], list[str]]:
    """Return the states that `path_set` has here, and the same as lines."""
    looks = path_set.local(unit.checkout)
    if len(looks) != len(unit.counts):
        raise EntryError("a path set is of other steps")
    taken = unit.take(looks)
    states = [each.states for each in taken]
    return taken, state_lines(states, unit.checkout, is_bound=path_set.is_bound)


def _miss_text(count: int, differing: Sequence[str] | None) -> str:
    """Return why `count` path sets gave nothing; `differing` looks of the nearest one."""
    if not count:
        return "no result of the same step and sources"
    if differing is None:
        return "no path set can be used"
    if not differing:
        return "the result is gone"
    more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
    number, _, look = differing[0].partition(" ")
    return f"{look} differs{more}, in the nearest of {count} path sets (step {number})"
