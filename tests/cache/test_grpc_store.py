from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import caches
import grpc
import pytest
import servers
from caches import Casd, GrpcFault, GrpcGate, give, refuse, stall
from registries import forward
from scratch_image.cache import deadline
from scratch_image.cache.address import Address
from scratch_image.cache.cache_login import CacheLogin, CredentialSources
from scratch_image.cache.entry import BlobDigest, CacheEntry, Key, OutputFile, write_fields
from scratch_image.cache.grpc_store import GrpcStore
from scratch_image.cache.store import StoreError
from scratch_image.cache.tls import Tls

KEY = Key.of("grpc", "test")
BLOB = b"some bytes"
DIGEST = BlobDigest.of(BLOB)
LARGE = bytes(range(256)) * (20 << 10)
LARGE_DIGEST = BlobDigest.of(LARGE)
ENTRY = CacheEntry((OutputFile("a", DIGEST),), b"small", b"signed").write()

Call = Callable[[GrpcStore], object]


def store(host: str, path: str = "", tls: Tls | None = None, **sources: str) -> GrpcStore:
    address = Address.parse(f"{'grpcs' if tls else 'grpc'}://{host}{path}")
    return GrpcStore(address, tls or Tls(), CacheLogin(address, CredentialSources(**sources)))


@pytest.fixture
def gate(casd: Casd) -> Iterator[GrpcGate]:
    with caches.grpc_gate(casd.host) as made:
        yield made


def get_entry(opened: GrpcStore) -> object:
    return opened.entry(KEY.digest)


def get_blob(opened: GrpcStore) -> object:
    return opened.blob(DIGEST)


def get_large(opened: GrpcStore) -> object:
    return opened.blob(LARGE_DIGEST)


def put(opened: GrpcStore) -> None:
    opened.keep(KEY.digest, ENTRY, {**KEY.blobs, DIGEST: BLOB}, resend=True)


def put_large(opened: GrpcStore) -> None:
    opened.keep(KEY.digest, ENTRY, {LARGE_DIGEST: LARGE}, resend=True)


def test_a_hit_is_two_calls(gate: GrpcGate) -> None:
    opened = store(gate.host)
    opened.keep(KEY.digest, ENTRY, {**KEY.blobs, DIGEST: BLOB})
    assert get_entry(opened) == ENTRY
    assert get_blob(opened) == BLOB

    assert gate.names() == [
        *("BatchUpdateBlobs", "UpdateActionResult"),
        *("GetActionResult", "BatchReadBlobs"),
    ]


def test_large_blobs_are_sent_once(gate: GrpcGate) -> None:
    opened = store(gate.host)
    large = os.urandom(1 << 17)
    for _ in range(2):
        opened.keep(KEY.digest, ENTRY, {**KEY.blobs, BlobDigest.of(large): large})

    assert gate.names() == [
        *("FindMissingBlobs", "BatchUpdateBlobs", "UpdateActionResult"),
        *("FindMissingBlobs", "UpdateActionResult"),
    ]


def test_large_blobs_come_as_streams(gate: GrpcGate) -> None:
    opened = store(gate.host)
    put_large(opened)

    assert opened.blob(LARGE_DIGEST) == LARGE
    assert gate.names() == ["Write", "UpdateActionResult", "Read"]


def test_many_blobs_are_sent_in_messages_that_servers_take(gate: GrpcGate) -> None:
    opened = store(gate.host)
    blobs = [bytes([number]) * (1 << 20) for number in range(9)]
    opened.keep(KEY.digest, ENTRY, {BlobDigest.of(each): each for each in blobs}, resend=True)

    assert gate.names() == [*("BatchUpdateBlobs",) * 3, "UpdateActionResult"]
    assert opened.missing(map(BlobDigest.of, blobs)) == set()


def test_instance_is_the_path_of_the_url(gate: GrpcGate) -> None:
    gate.faults[""] = refuse(grpc.StatusCode.INTERNAL)
    opened = store(gate.host, "/some/inst%61nce/")
    for call in (get_entry, get_large, put_large):
        with pytest.raises(StoreError):
            call(opened)

    messages = [message for *_, message in gate.calls]
    assert messages[0].startswith(write_fields([(1, b"some/instance")]))
    assert f"some/instance/blobs/{LARGE_DIGEST.hex}/{len(LARGE)}".encode() in messages[1]
    assert b"some/instance/uploads/" in messages[2]


REFUSALS = {
    "UNAUTHENTICATED": "it answers UNAUTHENTICATED: "
    "its token or password is missing, wrong or expired; renew it",
    "PERMISSION_DENIED": "it answers PERMISSION_DENIED: its user may not do that; "
    "use it as another user, or only read from it",
    "UNIMPLEMENTED": "it answers UNIMPLEMENTED: it is no such cache; write the URL of a cache",
    "INTERNAL": "it answers INTERNAL; look into the server's log",
}


@pytest.mark.parametrize("call", [get_entry, get_blob, get_large, put, put_large])
@pytest.mark.parametrize("status", REFUSALS)
def test_refusal_is_a_line(status: str, call: Call, gate: GrpcGate) -> None:
    gate.faults[""] = refuse(grpc.StatusCode[status], "secret words of the server")
    with pytest.raises(StoreError) as raised:
        call(store(gate.host))

    assert f"{raised.value.cause}; {raised.value.hint}" == REFUSALS[status]
    assert raised.value.writing == (call in (put, put_large))
    assert len(gate.calls) == 1, "it is not tried again"


@pytest.mark.parametrize("call", [put, put_large])
def test_full_disk_is_a_refusal_to_write(call: Call, gate: GrpcGate) -> None:
    gate.faults[""] = refuse(grpc.StatusCode.RESOURCE_EXHAUSTED)
    with pytest.raises(StoreError) as raised:
        call(store(gate.host))

    assert raised.value.writing
    assert raised.value.cause == "it answers RESOURCE_EXHAUSTED: its disk or a quota is full"


def test_refusal_of_one_blob_is_a_line(gate: GrpcGate) -> None:
    status = write_fields([(1, 8), (2, b"no room")])
    gate.faults["BatchUpdateBlobs"] = give(
        write_fields([(1, write_fields([(1, DIGEST.write()), (2, status)]))])
    )
    with pytest.raises(StoreError, match="RESOURCE_EXHAUSTED") as raised:
        put(store(gate.host))

    assert raised.value.writing


def _blob(data: bytes) -> bytes:
    return write_fields([(1, write_fields([(1, DIGEST.write()), (2, data)]))])


MISSES: dict[str, GrpcFault] = {
    "another blob": give(_blob(b"some bites")),
    "a short one": give(_blob(BLOB[1:])),
    "a long one": give(_blob(BLOB + b"!")),
    "no blob": give(_blob(b"")),
    "nothing": give(b""),
    "no message": give(),
    "too much": give(_blob(bytes(5 << 20))),
    "none": refuse(grpc.StatusCode.NOT_FOUND),
}


@pytest.mark.parametrize("case", MISSES)
def test_blob_that_is_not_as_its_digest_is_a_miss(case: str, gate: GrpcGate) -> None:
    gate.faults["BatchReadBlobs"] = MISSES[case]

    assert get_blob(store(gate.host)) is None


def _stream(*chunks: bytes) -> GrpcFault:
    return give(*(write_fields([(10, chunk)]) for chunk in chunks))


STREAMS: dict[str, GrpcFault] = {
    "another blob": _stream(LARGE[1:], b"!"),
    "a short one": _stream(LARGE[1:]),
    "a long one": _stream(
        *(LARGE[at : at + (1 << 20)] for at in range(0, len(LARGE), 1 << 20)), b"!"
    ),
    "nothing": _stream(),
    "none": refuse(grpc.StatusCode.NOT_FOUND),
}


@pytest.mark.parametrize("case", STREAMS)
def test_stream_that_is_not_as_its_digest_is_a_miss(case: str, gate: GrpcGate) -> None:
    gate.faults["Read"] = STREAMS[case]

    assert get_large(store(gate.host)) is None


@pytest.mark.parametrize("messages", [(), (bytes(5 << 20),)], ids=["none", "too large"])
def test_answer_without_an_entry_is_a_miss(messages: tuple[bytes, ...], gate: GrpcGate) -> None:
    gate.faults["GetActionResult"] = give(*messages)

    assert get_entry(store(gate.host)) is None


@pytest.mark.parametrize("call", [get_blob, get_large, put])
def test_answer_that_makes_no_sense_is_a_line(call: Call, gate: GrpcGate) -> None:
    gate.faults[""] = give(b"\xff\xff\xff")
    with pytest.raises(StoreError) as raised:
        call(store(gate.host))

    assert raised.value.cause == "its answer makes no sense"


def test_missing_blobs_in_an_answer_that_makes_no_sense_are_a_line(gate: GrpcGate) -> None:
    gate.faults["FindMissingBlobs"] = give(write_fields([(2, b"\x0a\x01x")]))
    with pytest.raises(StoreError, match="makes no sense"):
        store(gate.host).missing([DIGEST])


@pytest.mark.parametrize("call", [get_entry, get_blob, get_large, put, put_large])
def test_server_that_hangs_is_a_line(
    call: Call, gate: GrpcGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline, "SILENCE", 0.5)
    gate.faults[""] = stall()
    with pytest.raises(StoreError) as raised:
        call(store(gate.host))

    assert raised.value.cause == "it does not answer in time"


def test_stream_that_stops_is_a_line(gate: GrpcGate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "SILENCE", 0.5)
    gate.faults["Read"] = stall(write_fields([(10, LARGE[: 1 << 20])]))
    with pytest.raises(StoreError, match="in time"):
        get_large(store(gate.host))


def test_server_of_another_protocol_is_a_line(web: caches.Nginx) -> None:
    with pytest.raises(StoreError):
        get_entry(store(web.host))


@pytest.mark.parametrize(
    ("host", "cause"),
    [
        pytest.param(f"127.0.0.1:{servers.free_port()}", "Connection refused", id="port"),
        pytest.param("none.invalid", "none.invalid", id="host"),
    ],
)
def test_server_that_is_not_there_is_a_line(host: str, cause: str) -> None:
    with pytest.raises(StoreError) as raised:
        get_entry(store(host))

    assert cause in raised.value.cause


def test_store_that_is_closed_is_a_line(casd: Casd) -> None:
    opened = store(casd.host)
    opened.close()
    with pytest.raises(StoreError, match="closed channel"):
        get_entry(opened)


# Certificates and credentials


def test_both_sides_show_certificates(casd: Casd, certificates: Path) -> None:
    tls = Tls(*(str(certificates / name) for name in ("server.pem", "client.pem", "client.key")))
    with caches.grpc_gate(casd.host, certificates) as gate:
        opened = store(gate.host, tls=tls)
        put(opened)

        assert get_blob(opened) == BLOB


CERTIFICATES = {
    "authority unknown": Tls(),
    "another server": Tls("other.pem"),
    "client without one": Tls("server.pem"),
    "client with another": Tls("server.pem", "other.pem", "other.key"),
}


@pytest.mark.parametrize("case", CERTIFICATES)
def test_wrong_certificate_is_a_line(case: str, casd: Casd, certificates: Path) -> None:
    tls = CERTIFICATES[case]
    found = [str(certificates / name) if name else "" for name in (tls.ca, tls.cert, tls.key)]
    with caches.grpc_gate(casd.host, certificates) as gate, pytest.raises(StoreError) as raised:
        get_entry(store(gate.host, tls=Tls(*found)))

    assert "\n" not in raised.value.cause
    assert gate.calls == []


def test_token_is_shown_and_stays_secret(casd: Casd, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{caches.TOKEN}\n")
    with caches.grpc_gate(casd.host, authorization=f"Bearer {caches.TOKEN}") as gate:
        opened = store(gate.host, token_file=str(tmp_path / "token"))
        put(opened)
        assert get_blob(opened) == BLOB

        gate.faults[""] = refuse(grpc.StatusCode.UNAVAILABLE, f"no {caches.TOKEN}")
        with pytest.raises(StoreError) as raised:
            get_entry(opened)
        assert raised.value.cause == "no ***"


def test_proxy_of_the_environment_is_used(casd: Casd, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store(casd.host))
    with forward({"cache.test:80": casd.host}) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")

        assert get_blob(store("cache.test")) == BLOB
    assert proxy.log == ["CONNECT cache.test:80"]


FORKS = """
import subprocess, sys, threading
from scratch_image.cache.address import Address
from scratch_image.cache.cache_login import CacheLogin, CredentialSources
from scratch_image.cache.entry import BlobDigest
from scratch_image.cache.grpc_store import GrpcStore
from scratch_image.cache.tls import Tls
address = Address.parse("grpc://" + sys.argv[1])
store = GrpcStore(address, Tls(), CacheLogin(address, CredentialSources()))
def work():
    for _ in range(200): store.entry(BlobDigest.of(b"none"))
thread = threading.Thread(target=work)
thread.start()
while thread.is_alive(): subprocess.run(["true"], preexec_fn=lambda: None)
"""


def test_processes_can_be_started_meanwhile(casd: Casd) -> None:
    path = ":".join(each for each in sys.path if each)
    done = subprocess.run(
        [sys.executable, "-c", FORKS, casd.host],
        env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
