"""Tests of all texts that we write and read again: any of them comes back, whatever is in it.

A text that somebody changed is read as another one, or is the format's own error.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scratch_image.cache.entry import BlobDigest, CacheEntry, EntryError, OutputFile
from scratch_image.cache.path_set import MAX_SETS, PathSet, read_path_sets, write_path_sets
from scratch_image.cache.result import StepResult, read_result, write_result
from scratch_image.elf import closure
from scratch_image.elf.closure import Closure, LddRow
from scratch_image.elf.link_map import Library, Missing
from scratch_image.errors import InputError
from scratch_image.files.entry import Entry, read_entries, write_entries
from scratch_image.fs import unpacked_tree
from scratch_image.fs.digest import Digest
from scratch_image.fs.paths import escape, is_plain, show
from scratch_image.fs.root import Aspect
from scratch_image.fs.unpacked_tree import Owners
from scratch_image.image import layer_stack
from scratch_image.image.compression import MEDIA_TYPES
from scratch_image.image.layer import Layer
from scratch_image.image.layer_stack import Blob
from scratch_image.image.reference import Reference
from scratch_image.inspect import report
from scratch_image.inspect.report import Report
from scratch_image.publish import push
from scratch_image.publish.engine import LoadedImage
from scratch_image.scons import footprint, up_to_date
from scratch_image.scons.footprint import Footprint
from scratch_image.scons.remote import REMOTE
from scratch_image.scons.up_to_date import Declaration, DeclaredCall, Places, Seal
from scratch_image.sysroot.origin import DebianOrigin
from scratch_image.trace.record import Record, Use, Used, read_record, write_record

HOSTILE = (
    *(
        b"\n",
        b" ",
        b"\\",
        b"\\040",
        b"\\\\012",
        b"\xff",
        b"\xc3\xa9",
        b"\xe2\x80\xa8",
        b"\x85",
        b"\r",
    ),
    *(
        b" -> ",
        b"=",
        b"<-",
        b"..x",
        b"...",
        b":",
        b"sha256:",
        b"linux-vdso.so.1",
        b"linux-gate.so.9",
    ),
    *(
        b"not found",
        b"machine 62 (x)",
        b"statically linked",
        b"\x7f",
        b"'\"",
        b"%s",
        b"(loader of /x)",
    ),
    *(b"ldd: warning: x", b"<script>", b"]]>", b"a" * 255, b"#", b"!", b"-"),
)
"""Names that mean something, somewhere."""

names = (st.sampled_from(HOSTILE) | st.binary(min_size=1, max_size=9)).map(
    lambda name: name.translate(None, b"\0/") or b"x"
)
paths = st.lists(names, max_size=4).map(lambda parts: b"/" + b"/".join(parts)).filter(is_plain)
words = names.map(lambda name: escape(name).decode())
digests = st.binary(max_size=4).map(Digest.of)


def records() -> st.SearchStrategy[Record]:
    kinds = st.sampled_from([use for use in Use if use is not Use.CREATE])
    found = st.dictionaries(paths, kinds, max_size=6)
    return found.map(lambda uses: Record(tuple(Used(uses[path], path) for path in sorted(uses))))


closures = st.builds(
    Closure,
    path=paths,
    interpreters=st.lists(paths, max_size=2).map(tuple),
    machine=st.integers(0, 0xFFFF),
    loader=st.none() | paths,
    static=st.booleans(),
    libraries=st.lists(st.builds(Library, names, paths, paths, st.booleans()), max_size=3).map(
        tuple
    ),
    missing=st.lists(
        st.builds(Missing, names, paths, st.lists(paths, max_size=3).map(tuple)), max_size=2
    ).map(tuple),
)


def read_ldd(text: bytes) -> tuple[tuple[LddRow, ...], tuple[Missing, ...]]:
    return closure.read_closures(text), closure.read_missing(text)


def rows(found: list[Closure]) -> tuple[tuple[LddRow, ...], tuple[Missing, ...]]:
    """Return what a text of these closures says."""
    told = []
    for each in found:
        users = (each.path, *each.interpreters)
        told.append(LddRow("program", each.path, None))
        told += [LddRow("interpreter", to, by) for by, to in itertools.pairwise(users)]
        told += [LddRow("library", library.path, library.needed_by) for library in each.libraries]
        told += [LddRow("loader", each.loader, users[-1])] if each.loader else []
    return tuple(told), tuple(one for each in found for one in each.missing)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    kind = draw(st.sampled_from(["dir", "file", "link", "hard"]))
    more = draw(st.sampled_from(["", "source", "text"])) if kind == "file" else ""
    return Entry(
        kind,
        draw(st.integers(0, 0o7777)),
        draw(st.integers(0, 2**32 - 1)),
        draw(st.integers(0, 2**32 - 1)),
        draw(paths),
        draw(names) if kind in ("link", "hard") else b"",
        tuple(sorted({f"run:{word}" for word in draw(st.lists(words, min_size=1, max_size=3))})),
        draw(paths | paths.map(lambda path: path[1:]).filter(bool)) if more == "source" else b"",
        draw(st.binary(min_size=1)) if more == "text" else b"",
    )


states = st.sampled_from(["absent", "file 0644 0:0 sha256:1", "link a\\012b", "unknown x", "", " "])
looked = st.dictionaries(st.tuples(paths | st.just(b""), st.sampled_from(list(Aspect))), states)
footprints = st.builds(Footprint, st.just("ab12"), st.just("1 2 3"), looked)

owned = st.builds(
    Owners,
    st.booleans(),
    st.dictionaries(
        paths,
        st.tuples(st.integers(0, 0o7777), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    ),
)

remotes = st.tuples(names, st.sampled_from(REMOTE), states)
references = st.sampled_from(["ghcr.io/me/a:1.2", "b"]).map(Reference.parse)
calls = st.builds(
    DeclaredCall,
    st.text(max_size=3),
    *[
        st.lists(st.tuples(each, st.text(max_size=3)), max_size=2).map(tuple)
        for each in (references, st.text(max_size=3))
    ],
)
declarations = st.builds(
    Declaration,
    st.lists(calls, max_size=2).map(tuple),
    *[st.frozensets(paths, max_size=2)] * 3,
    st.frozensets(st.text(max_size=3), max_size=2),
    st.lists(paths, max_size=2).map(tuple),
)
seals = st.builds(
    Seal,
    st.just("sha256:1"),
    st.just("ab"),
    st.builds(Places, *[st.frozensets(paths, max_size=3)] * 2, st.frozensets(remotes, max_size=2)),
    st.none() | declarations,
)

STACK = b"/x/image.layers"


@st.composite
def blobs(draw: st.DrawFn) -> Blob:
    suffix = draw(st.sampled_from(sorted(MEDIA_TYPES)))
    diff_id = draw(digests)
    layer = Layer(MEDIA_TYPES[suffix], draw(digests), draw(st.integers(0, 10**12)), diff_id)
    path = b"%s/%s%s" % (layer_stack.blobs(STACK), diff_id.hex.encode(), suffix.encode())
    return Blob(
        layer,
        path,
        draw(st.sampled_from(["libc6:amd64", layer_stack.SMALL, layer_stack.OWN, "gcc-12-base"])),
    )


@st.composite
def loaded(draw: st.DrawFn) -> LoadedImage:
    pairs = draw(st.lists(st.tuples(digests, digests), max_size=3))
    return LoadedImage(str(draw(digests)), tuple(a for a, _ in pairs), tuple(b for _, b in pairs))


def read_file(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Return `read`, which takes a path, as a function that takes what is there."""

    def read_text(text: bytes) -> Any:
        with tempfile.NamedTemporaryFile() as file:
            file.write(text)
            file.flush()
            return read(os.fsencode(file.name))

    return read_text


LOCKED = ("libc6=2.36-9+deb12u4", "base-files=12.4:1~x")
ORIGIN = DebianOrigin("bookworm", ("b", "a"), ("http://a/b%", "deb [a=b] http://c/ x y"), "arm64")


def locked_by(versions: tuple[str, ...]) -> bytes:
    """Return the text of a lock."""
    return (ORIGIN._head() + "".join(f"{each}\n" for each in versions)).encode()


def lock_of(path: bytes) -> tuple[str, ...]:
    return replace(ORIGIN, lock=path)._read_lock()


tags = st.lists(
    st.sampled_from(["ghcr.io/me/a:1.2", "[::1]:5000/a:x", "localhost:80/a/b:latest"]), min_size=1
)


def pushed(shown: list[str]) -> bytes:
    """Return what a push of these tags leaves."""
    return b"".join(f"{tag}@{Digest.of(b'')}\n".encode() for tag in shown)


def recalled(path: bytes) -> list[str]:
    return [tag.shown for tag in push.tags_in(path)]


def page(listed: list[Entry]) -> bytes:
    """Return the page of an image with these entries."""
    return report.page(Report("x", listed, (), (), (), {}), b"")


def pages_paths(text: bytes) -> list[str] | None:
    """Return the paths that a page shows; the next page, made beside it, has to come out."""
    page_after = report.page(Report("x", (), (), (), (), {}), text)
    changes = report._data(page_after)["changes"]
    return changes and sorted(change["path"] for change in changes["paths"])


def shown_paths(listed: list[Entry]) -> list[str] | None:
    return sorted({show(entry.path) for entry in listed}) or None


looks = st.dictionaries(
    st.tuples(paths, st.sampled_from([Aspect.STAT, Aspect.CONTENT, Aspect.SONAME])),
    st.just(""),
    max_size=4,
)
path_sets = st.lists(
    st.tuples(
        st.builds(PathSet, st.booleans(), st.booleans(), st.lists(looks, max_size=3).map(tuple)),
        st.binary(max_size=8),
    ),
    max_size=MAX_SETS,
)
blob_digests = st.binary(max_size=4).map(BlobDigest.of)
cache_entries = st.builds(
    CacheEntry,
    st.lists(st.builds(OutputFile, st.sampled_from(["0", "1.2"]), blob_digests), max_size=3).map(
        tuple
    ),
    st.binary(max_size=9),
    st.binary(max_size=9),
)
step_results = st.lists(
    st.builds(
        StepResult,
        st.lists(st.binary(max_size=9), min_size=2, max_size=2).map(tuple),
        st.sampled_from(["", "2 files\nlint: x"]),
        st.integers(0, 9).map(float),
    ),
    min_size=1,
    max_size=1,
)


def read_result_of(text: bytes) -> list[StepResult]:
    """Return the results of one step of two targets that come with their entry."""
    return read_result(CacheEntry.read(text), "k", [2], lambda _: b"")


@dataclass(frozen=True)
class Format:
    """A text that is written and read again."""

    values: st.SearchStrategy[Any]
    write: Callable[[Any], bytes]
    read: Callable[[bytes], Any]
    means: Callable[[Any], Any] = lambda value: value
    """Returns what `read` gives for a value that was written."""


FORMATS = {
    "record": Format(records(), write_record, read_record),
    "ldd": Format(
        st.lists(closures, min_size=1, max_size=2), closure.closures_text, read_ldd, rows
    ),
    "files": Format(
        st.lists(entries(), max_size=3),
        write_entries,
        lambda text: read_entries(text, "x"),
        tuple,
    ),
    "footprint": Format(footprints, Footprint.text, footprint.read),
    "path sets": Format(path_sets, write_path_sets, read_path_sets),
    "result": Format(
        step_results, lambda found: write_result("k", found).entry.write(), read_result_of
    ),
    "entry": Format(cache_entries, CacheEntry.write, CacheEntry.read),
    "seal": Format(seals, Seal.text, up_to_date.read),
    "owners": Format(owned, Owners.text, read_file(unpacked_tree.read_owners)),
    "layers": Format(
        st.lists(blobs(), max_size=2),
        lambda found: layer_stack.write(found, "zlib 1.2, level 6"),
        lambda text: tuple(blob for _, blob in layer_stack._parse(STACK, text)),
        tuple,
    ),
    "loaded": Format(loaded(), LoadedImage.text, LoadedImage.read),
    "lock": Format(st.just(LOCKED), lambda locked: locked_by(locked), read_file(lock_of)),
    "pushed": Format(tags, pushed, read_file(recalled)),
    "report": Format(st.lists(entries(), max_size=3), page, pages_paths, shown_paths),
}

forms = pytest.mark.parametrize("name", FORMATS)


@forms
@given(data=st.data())
def test_what_was_written_is_read(name: str, data: st.DataObject) -> None:
    form = FORMATS[name]
    value = data.draw(form.values)
    assert form.read(form.write(value)) == form.means(value)


TOO_DEEP = b"[" * 100_000
SEAL = Seal("a", "b", Places(remotes=frozenset([(b"x", Aspect.TAG, "y")]))).text()
DATA = b'<script type="application/json" id="data">%s</script>'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("report", DATA % TOO_DEEP, id="report-deep"),
        pytest.param("report", DATA % b"\xff", id="report-bytes"),
        pytest.param("pushed", b"ghcr.io/a:\xff@sha256:00\n", id="pushed-bytes"),
        pytest.param("seal", SEAL.replace(b'"tag"', b'"content"'), id="seal-aspect"),
        *(
            pytest.param(name, text, id=f"{name}-{word}")
            for name in ("footprint", "seal", "loaded")
            for word, text in [("deep", TOO_DEEP), ("bytes", b'"\xff"'), ("line", b"# v1\nx\n")]
        ),
    ],
)
def test_a_text_that_is_none_of_ours(name: str, text: bytes) -> None:
    assert not FORMATS[name].read(text) or name == "pushed"


PIECES = st.sampled_from([*HOSTILE, b"/", b"/..", b"//", b"\0", b"\\000", b"\t", b"9" * 5000, b""])


@st.composite
def mutated(draw: st.DrawFn, text: bytes) -> bytes:
    """Return `text` with some pieces taken out, put in or repeated."""
    for _ in range(draw(st.integers(1, 3))):
        start, end = sorted(draw(st.integers(0, len(text))) for _ in range(2))
        text = text[:start] + draw(PIECES | st.just(2 * text[start:end])) + text[end:]
    return text


@forms
@given(data=st.data())
def test_another_text_is_read_or_refused(name: str, data: st.DataObject) -> None:
    form = FORMATS[name]
    text = data.draw(mutated(form.write(data.draw(form.values))))
    with suppress(InputError, EntryError):
        form.read(text)
