"""Results of steps as entries have them: the bytes of targets, and the lines about each step."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..fs.private_file import Format, to_text
from .entry import BlobDigest, CacheEntry, EntryError, OutputFile
from .path_set import unpack

_INLINE = 256 << 10
"""Bytes up to which packed outputs come with the entry: one round trip less."""

_SMALL = 1 << 20
"""Bytes of outputs that may become so few."""

_MAX_TEXT = 64 << 20
"""Bytes that they have at most, unpacked."""

_PIECE = 32 << 20
"""Bytes of a large file that are one blob."""

_LONGEST = 1e7
"""Seconds that a step takes at most."""

_FORMAT = Format("result", 1)


@dataclass(frozen=True, slots=True)
class StepResult:
    """The result of one step."""

    outputs: tuple[bytes, ...]
    """The content of each target."""
    lines: str
    """The lines about the step."""
    seconds: float
    """Time that it took."""


@dataclass(frozen=True, slots=True)
class SharedResult:
    """The results of the steps of a unit, as an entry has them."""

    entry: CacheEntry
    blobs: Mapping[BlobDigest, bytes]
    """Blobs that the entry names."""


def write_result(strong: str, results: Sequence[StepResult]) -> SharedResult:
    """Return the entry of the strong key `strong` for `results`."""
    if sum(len(blob) for each in results for blob in each.outputs) > _SMALL:
        return _name_blobs(strong, results)
    steps = [{"lines": each.lines, "seconds": round(each.seconds, 3)} for each in results]
    outputs = [[to_text(blob) for blob in each.outputs] for each in results]
    inline = zlib.compress(_FORMAT.write({"key": strong, "steps": steps, "outputs": outputs}), 6)
    if len(inline) > _INLINE:
        return _name_blobs(strong, results)
    return SharedResult(CacheEntry(stdout=_seal(inline)), {})


def _name_blobs(strong: str, results: Sequence[StepResult]) -> SharedResult:
    """Return an entry that only names the outputs."""
    steps = [{"lines": each.lines, "seconds": round(each.seconds, 3)} for each in results]
    named = [
        (f"{step}.{number}", blob)
        for step, each in enumerate(results)
        for number, blob in enumerate(each.outputs)
    ]
    blobs = {BlobDigest.of(blob): blob for _, blob in named}
    files = tuple(OutputFile(name, BlobDigest.of(blob)) for name, blob in named)
    text = zlib.compress(_FORMAT.write({"key": strong, "steps": steps, "outputs": None}), 6)
    return SharedResult(CacheEntry(files, _seal(text)), blobs)


def read_result(
    entry: CacheEntry, strong: str, counts: Sequence[int], blob: Callable[[BlobDigest], bytes]
) -> list[StepResult]:
    """Return the results in `entry` (hostile) of steps with that many targets each.

    `blob` gets blobs. EntryError when it is not the entry of the strong key `strong`.
    """
    found = _FORMAT.read(
        unpack(_open(entry.stdout), _MAX_TEXT), lambda values: _values(values, strong, counts)
    )
    if found is None:
        raise EntryError("it is the entry of another result")
    steps, outputs = found
    if outputs is None:
        files = {each.path: each.digest for each in entry.files}
        names = [[f"{step}.{number}" for number in range(n)] for step, n in enumerate(counts)]
        if sorted(files) != sorted(name for each in names for name in each):
            raise EntryError("it is the entry of another result")
        outputs = [[blob(files[name]) for name in each] for each in names]
    return [
        StepResult(tuple(each), lines, seconds)
        for each, (lines, seconds) in zip(outputs, steps, strict=True)
    ]


def _values(
    values: dict[str, Any], strong: str, counts: Sequence[int]
) -> tuple[list[tuple[str, float]], list[list[bytes]] | None]:
    steps = [(_lines(each["lines"]), _seconds(each["seconds"])) for each in values["steps"]]
    texts = values["outputs"]
    outputs = texts and [[_blob(text) for text in each] for each in texts]
    sizes = [*map(len, outputs)] if outputs else list(counts)
    if values["key"] != strong or len(steps) != len(counts) or sizes != list(counts):
        raise ValueError
    return steps, outputs


def _lines(text: str) -> str:
    """Return `text` (hostile); ValueError for lines that a terminal would not only show."""
    if not all(map(str.isprintable, text.split("\n"))):
        raise ValueError
    return text


def _seconds(number: float) -> float:
    if not 0 <= number < _LONGEST:
        raise ValueError
    return float(number)


def _blob(text: str) -> bytes:
    """Return the bytes that `text`, made by `to_text`, stands for."""
    return text.encode("utf-8", "surrogateescape")


def write_file(key: str, path: bytes, seconds: float) -> SharedResult:
    """Return the entry of `key` for the file `path`, which took `seconds` to make."""
    pieces = FilePieces(path)
    files = [OutputFile(str(at), digest) for at, digest in enumerate(pieces.digests)]
    text = _FORMAT.write({"key": key, "seconds": round(seconds, 3), "pieces": len(files)})
    return SharedResult(CacheEntry(tuple(files), _seal(zlib.compress(text))), pieces)


def read_file(entry: CacheEntry, key: str) -> tuple[list[BlobDigest], float]:
    """Return the pieces of the file in `entry` (hostile), and the seconds that it took.

    EntryError when it is not the entry of `key`.
    """
    found = _FORMAT.read(
        unpack(_open(entry.stdout), _MAX_TEXT),
        lambda values: (values["key"], int(values["pieces"]), _seconds(values["seconds"])),
    )
    files = [(each.path, each.digest) for each in entry.files]
    if not found or found[0] != key or [name for name, _ in files] != [*map(str, range(found[1]))]:
        raise EntryError("it is the entry of another result")
    return [digest for _, digest in files], found[2]


class FilePieces(Mapping[BlobDigest, bytes]):
    """A large file as blobs, each of which is read when it is sent."""

    def __init__(self, path: bytes) -> None:
        """Take the file `path`, which stays as it is."""
        self._path = path
        self.digests: list[BlobDigest] = []
        """Of the pieces, in their order."""
        self._starts: dict[BlobDigest, int] = {}
        with open(path, "rb") as file:
            while piece := file.read(_PIECE):
                self.digests.append(BlobDigest.of(piece))
                self._starts[self.digests[-1]] = file.tell() - len(piece)

    def __getitem__(self, digest: BlobDigest) -> bytes:
        start = self._starts[digest]
        with open(self._path, "rb") as file:
            file.seek(start)
            return file.read(digest.size)

    def __iter__(self) -> Iterator[BlobDigest]:
        return iter(self._starts)

    def __len__(self) -> int:
        return len(self._starts)


def _seal(text: bytes) -> bytes:
    """Return `text` after its digest: no transport compares that of an entry."""
    return BlobDigest.of(text).hex.encode() + text


def _open(sealed: bytes) -> bytes:
    """Return the text in `sealed` (hostile); EntryError when it has another digest."""
    text = sealed[64:]
    if BlobDigest.of(text).hex.encode() != sealed[:64]:
        raise EntryError("an entry is damaged")
    return text
