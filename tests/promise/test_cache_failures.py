"""Nothing that a cache does fails a build or changes its bytes, whatever it is reached by."""

from __future__ import annotations

import os
import re
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import caches
import grpc
import pytest
import servers
from scratch_image.cache import deadline
from scratch_image.cache.cache_login import CredentialSources
from scratch_image.cache.entry import BlobDigest, CacheEntry, Key
from scratch_image.cache.key import result_entry, sets_entry, state_lines, strong_key
from scratch_image.cache.path_set import Checkout, PathSet, write_path_sets
from scratch_image.cache.result import StepResult, write_result
from scratch_image.cache.share import Looks, Share, Unit
from scratch_image.cache.signature import Signatures
from scratch_image.cache.store import Store
from scratch_image.cache.stores import open_store
from scratch_image.cache.tls import Tls
from scratch_image.fs.root import Aspect

CHECKOUT = Checkout((b"/project",))
STATES = {(b"/etc/fox.conf", Aspect.CONTENT): "file sha256:1"}
SMALL = [StepResult((b"trace",), "TRACE x", 1.0)]
LARGE = [StepResult((os.urandom(1 << 18), b"ldd"), "TRACE x", 1.0)]
"""Its outputs do not come with the entry."""


def _open(url: str) -> Store:
    return open_store(url, Tls(), CredentialSources())


@dataclass
class Taken:
    states: dict[tuple[bytes, Aspect], str]


@dataclass
class User:
    """One build that uses a cache."""

    store: Store
    signatures: Signatures = field(default_factory=Signatures)
    lines: list[str] = field(default_factory=list)
    debug: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.share = Share("URL", self.store, self.signatures, self.lines.append, self.debug.append)

    def unit(self, weak: str, outputs: int = 1) -> Unit[Taken]:
        return Unit("TRACE x", [weak], CHECKOUT, (outputs,), _take)

    def get(self, weak: str, outputs: int = 1) -> Sequence[StepResult] | None:
        found = self.share.look_up(self.unit(weak, outputs))
        return found.results if found else None

    def put(self, weak: str, results: list[StepResult]) -> None:
        self.share.keep(self.unit(weak, len(results[0].outputs)), weak, [STATES], results)
        assert self.share.finish(60)


def _take(looks: Sequence[Looks]) -> list[Taken]:
    return [Taken({look: STATES.get(look, "absent") for look in each}) for each in looks]


def strong(weak: str) -> str:
    path_set = PathSet.of([STATES], CHECKOUT, is_bound=False, is_personal=False)
    return strong_key(weak, path_set, CHECKOUT, state_lines([STATES], CHECKOUT, is_bound=False))


@pytest.fixture
def weak() -> str:
    """Give a weak key that no store has."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class Place:
    """A cache, and where its files are."""

    url: str
    blob: Callable[[BlobDigest], Path]
    entry: Callable[[Key], Path] | None
    """None where its entries are no files of their own."""
    rewrites: bool = True
    """Whether it takes a blob again that it has in the right size."""

    def open(self) -> Store:
        return _open(self.url)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Place]]:
    """Give a cache of each kind."""
    top = tmp_path_factory.mktemp("caches")
    with caches.nginx(top / "nginx") as web, caches.casd(top / "casd") as casd:
        yield {
            "directory": Place(
                str(top / "files"),
                lambda each: top / "files/cas" / each.hex[:2] / each.hex,
                lambda key: top / "files/ac" / key.digest.hex[:2] / key.digest.hex,
            ),
            "http": Place(
                f"http://{web.host}",
                lambda each: web.files / "cas" / each.hex,
                lambda key: web.files / "ac" / key.digest.hex,
            ),
            "grpc": Place(
                f"grpc://{casd.host}",
                lambda each: casd.objects / each.hex[:2] / each.hex[2:],
                None,
                rewrites=False,
            ),
        }


KINDS = ["directory", "http", "grpc"]


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, places: dict[str, Place]) -> Place:
    return places[request.param]


# Damaged results


def test_result_of_one_build_is_that_of_another(place: Place, weak: str) -> None:
    for results in (SMALL, LARGE):
        count = len(results[0].outputs)
        User(place.open()).put(weak + str(count), results)

        reader = User(place.open())
        assert reader.get(weak + str(count), count) == results
        assert reader.lines == []


def _flip(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"!")


def _cut(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])


def _empty(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [_flip, _cut, _empty, Path.unlink])
def test_damaged_blob_is_a_miss_and_is_written_again(
    damage: Callable[[Path], None], place: Place, weak: str
) -> None:
    results = [StepResult((os.urandom(1 << 18), b"ldd"), "TRACE x", 1.0)]
    writer = User(place.open())
    writer.put(weak, results)
    damage(place.blob(BlobDigest.of(results[0].outputs[0])))

    assert writer.get(weak, 2) is None
    writer.put(weak, results)
    healed = place.rewrites or damage is not _flip
    assert User(place.open()).get(weak, 2) == (results if healed else None)
    assert writer.lines == []


@pytest.mark.parametrize("damage", [_flip, _cut, _empty, Path.unlink])
@pytest.mark.parametrize("which", ["sets", "result"])
@pytest.mark.parametrize("kind", ["directory", "http"])
def test_damaged_entry_is_a_miss_and_is_written_again(
    kind: str, which: str, damage: Callable[[Path], None], places: dict[str, Place], weak: str
) -> None:
    place = places[kind]
    writer = User(place.open())
    writer.put(weak, SMALL)
    assert place.entry
    damage(place.entry(sets_entry(weak) if which == "sets" else result_entry(strong(weak))))

    assert writer.get(weak) is None
    writer.put(weak, SMALL)
    assert User(place.open()).get(weak) == SMALL
    assert writer.lines == []


def _hostile(text: str) -> CacheEntry:
    """Return the entry of path sets with `text` for the one of `STATES`."""
    known = write_path_sets(
        [(PathSet.of([STATES], CHECKOUT, is_bound=False, is_personal=False), b"")]
    )
    changed = re.sub(rb'\{"content":\{[^}]*\}\}', text.encode(), zlib.decompress(known))
    assert text.encode() in changed
    return CacheEntry(stdout=zlib.compress(changed))


FORGERIES: dict[str, Callable[[str], tuple[Key, CacheEntry]]] = {
    "no path sets": lambda weak: (sets_entry(weak), CacheEntry(stdout=b"junk")),
    "nothing in it": lambda weak: (sets_entry(weak), CacheEntry()),
    "a bomb": lambda weak: (sets_entry(weak), CacheEntry(stdout=zlib.compress(bytes(64 << 20)))),
    "a device": lambda weak: (sets_entry(weak), _hostile('{"content":{"/dev/zero":""}}')),
    "the memory": lambda weak: (sets_entry(weak), _hostile('{"content":{"/proc/kcore":""}}')),
    "an engine": lambda weak: (
        sets_entry(weak),
        _hostile('{"image":{"/tcp://10.0.0.1:1 x":""}}'),
    ),
    "a way out": lambda weak: (
        sets_entry(weak),
        _hostile('{"content":{"//project/../../etc/shadow":""}}'),
    ),
    "no result": lambda weak: (result_entry(strong(weak)), CacheEntry(stdout=b"junk")),
    "an empty result": lambda weak: (result_entry(strong(weak)), CacheEntry()),
    "another key's result": lambda weak: (
        result_entry(strong(weak)),
        write_result("another", [StepResult((b"evil",), "TRACE x", 1.0)]).entry,
    ),
    "a result of more targets": lambda weak: (
        result_entry(strong(weak)),
        write_result(strong(weak), [StepResult((b"evil", b"more"), "TRACE x", 1.0)]).entry,
    ),
    "lines that move the cursor": lambda weak: (
        result_entry(strong(weak)),
        write_result(strong(weak), [StepResult((b"trace",), "TRACE\x1b[2J", 1.0)]).entry,
    ),
}


@pytest.mark.parametrize("case", FORGERIES)
def test_forged_entry_is_a_miss_and_is_written_again(case: str, place: Place, weak: str) -> None:
    store = place.open()
    writer = User(store)
    writer.put(weak, SMALL)
    key, entry = FORGERIES[case](weak)
    store.keep(key.digest, entry.write(), key.blobs)

    assert writer.get(weak) is None
    writer.put(weak, SMALL)
    assert User(place.open()).get(weak) == SMALL
    assert writer.lines == []


def test_entry_without_a_fitting_signature_is_a_miss(
    place: Place, weak: str, tmp_path: Path
) -> None:
    for name in ("ci", "other"):
        (tmp_path / name).write_text(name * 20)
    ci, other = (Signatures(str(tmp_path / name)) for name in ("ci", "other"))

    User(place.open()).put(weak, SMALL)
    reader = User(place.open(), ci)
    assert reader.get(weak) is None, "without a signature"
    User(place.open(), other).put(weak, SMALL)
    assert reader.get(weak) is None, "of another key"
    assert reader.debug[-1].startswith("TRACE x: ")

    reader.put(weak, SMALL)
    assert User(place.open(), ci).get(weak) == SMALL
    assert reader.lines == []


# Servers that fail


@dataclass(frozen=True)
class Failure:
    """A failing server, and the line about it."""

    web: caches.Behaviour
    call: caches.GrpcFault
    line: str


UNAVAILABLE = "cannot use cache URL: it does not answer in time; see that it is there and works"
FAILURES = {
    "hangs": Failure(caches.hang, caches.stall(), UNAVAILABLE),
    "500": Failure(
        caches.answer(500),
        caches.refuse(grpc.StatusCode.INTERNAL, "oops"),
        r"cannot use cache URL: it answers (500|INTERNAL); look into the server's log",
    ),
    "token": Failure(
        caches.answer(401),
        caches.refuse(grpc.StatusCode.UNAUTHENTICATED, "who?"),
        r"cannot use cache URL: it answers (401|UNAUTHENTICATED): "
        "its token or password is missing, wrong or expired; renew it",
    ),
    "user": Failure(
        caches.answer(403),
        caches.refuse(grpc.StatusCode.PERMISSION_DENIED),
        r"cannot use cache URL: it answers (403|PERMISSION_DENIED): "
        "its user may not do that; use it as another user, or only read from it",
    ),
    "closes": Failure(
        lambda _: None,
        caches.refuse(grpc.StatusCode.UNAVAILABLE, "closed"),
        r"cannot use cache URL: (Remote end closed connection without response|closed); "
        "see that it is there and works",
    ),
}


@contextmanager
def failing(kind: str, failure: Failure) -> Iterator[tuple[str, Callable[[], int]]]:
    """Give the URL of a server that fails, and a function that counts its requests."""
    if kind == "http":
        with caches.scripted(failure.web) as server:
            yield f"http://{server.host}", lambda: len(server.heads)
    else:
        with caches.grpc_gate("127.0.0.1:1") as gate:
            gate.faults[""] = failure.call
            yield f"grpc://{gate.host}", lambda: len(gate.calls)


@pytest.mark.parametrize("case", FAILURES)
@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_server_that_fails_is_one_line_and_not_used_again(
    kind: str, case: str, weak: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline, "SILENCE", 0.5)
    with failing(kind, FAILURES[case]) as (url, count):
        build = User(_open(url))
        assert build.get(weak) is None
        requests = count()
        assert build.get(weak) is None
        build.put(weak, SMALL)

        assert count() == requests
    assert [bool(re.fullmatch(FAILURES[case].line, each)) for each in build.lines] == [True]


@pytest.mark.parametrize("url", ["http://{}", "grpc://{}", "https://{}", "grpcs://{}"])
@pytest.mark.parametrize("host", ["port", "none.invalid"])
def test_server_that_is_not_there_is_one_line(url: str, host: str, weak: str) -> None:
    place = f"localhost:{servers.free_port()}" if host == "port" else host
    build = User(_open(url.format(place)))
    for _ in range(2):
        assert build.get(weak) is None

    assert len(build.lines) == 1
    assert build.lines[0].startswith("cannot use cache URL: ")
    assert build.lines[0].endswith("; see that it is there and works")


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
def test_wrong_certificate_is_one_line(scheme: str, weak: str, tmp_path: Path) -> None:
    for name in ("server", "client"):
        caches.certify(tmp_path, name)
    with ExitStack() as stack:
        host = (
            stack.enter_context(caches.nginx(tmp_path / "cache", tls=tmp_path)).host
            if scheme == "https"
            else stack.enter_context(caches.grpc_gate("127.0.0.1:1", tmp_path)).host
        )
        build = User(_open(f"{scheme}://{host}"))
        assert build.get(weak) is None

    assert len(build.lines) == 1
    assert "CERTIFICATE_VERIFY_FAILED" in build.lines[0]
    assert "\n" not in build.lines[0]


REFUSALS = {
    "disk full": (507, grpc.StatusCode.RESOURCE_EXHAUSTED),
    "only readers": (403, grpc.StatusCode.PERMISSION_DENIED),
}


@contextmanager
def read_only(kind: str, case: str, weak: str, place: Path) -> Iterator[str]:
    """Give the URL of a cache that has `SMALL` for `weak` and refuses to be written to."""
    status, code = REFUSALS[case]
    with ExitStack() as stack:
        if kind == "http":
            with caches.nginx(place) as web:
                User(_open(f"http://{web.host}")).put(weak, SMALL)
            guard = f"if ($request_method = PUT) {{ return {status}; }}"
            yield f"http://{stack.enter_context(caches.nginx(place, guard=guard)).host}"
        else:
            casd = stack.enter_context(caches.casd(place))
            User(_open(f"grpc://{casd.host}")).put(weak, SMALL)
            gate = stack.enter_context(caches.grpc_gate(casd.host))
            for name in ("BatchUpdateBlobs", "UpdateActionResult"):
                gate.faults[name] = caches.refuse(code)
            yield f"grpc://{gate.host}"


@pytest.mark.parametrize("case", REFUSALS)
@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_refused_write_leaves_a_cache_to_read_from(
    kind: str, case: str, weak: str, tmp_path: Path
) -> None:
    with read_only(kind, case, weak, tmp_path / "cache") as url:
        build = User(_open(url))
        build.put(weak, LARGE)

        assert build.get(weak) == SMALL
    assert build.share.is_read_only
    assert build.lines == []
    assert build.debug[0].startswith("cannot write to cache URL: ")
