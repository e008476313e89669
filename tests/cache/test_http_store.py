from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import caches
import pytest
import servers
from caches import Behaviour, Nginx, answer
from registries import forward
from scratch_image.cache import deadline
from scratch_image.cache.address import Address
from scratch_image.cache.cache_login import CacheLogin, CredentialSources
from scratch_image.cache.entry import MAX_ENTRY, BlobDigest, CacheEntry, Key, OutputFile
from scratch_image.cache.http_store import HttpStore
from scratch_image.cache.store import StoreError
from scratch_image.cache.tls import Tls
from scratch_image.errors import InputError

KEY = Key.of("http", "test")
BLOB = b"some bytes"
DIGEST = BlobDigest.of(BLOB)
ENTRY = CacheEntry((OutputFile("a", DIGEST),)).write()

Call = Callable[[HttpStore], object]


def store(host: str, path: str = "", tls: Tls | None = None, **sources: str) -> HttpStore:
    address = Address.parse(f"{'https' if tls else 'http'}://{host}{path}")
    login = CacheLogin(address, CredentialSources(**sources))
    return HttpStore(address, tls or Tls(), login)


def get_entry(opened: HttpStore) -> object:
    return opened.entry(KEY.digest)


def get_blob(opened: HttpStore) -> object:
    return opened.blob(DIGEST)


def put(opened: HttpStore) -> None:
    opened.keep(KEY.digest, ENTRY, {**KEY.blobs, DIGEST: BLOB})


def lines(web: Nginx) -> list[str]:
    return web.log.read_text().splitlines() if web.log.exists() else []


def test_names_have_the_prefix_of_the_url(web: Nginx) -> None:
    put(store(web.host, "/some/instance/"))

    assert (web.files / "some/instance/cas" / DIGEST.hex).read_bytes() == BLOB
    assert (web.files / "some/instance/ac" / KEY.digest.hex).read_bytes() == ENTRY


def test_small_blobs_are_sent_and_large_ones_are_looked_for(web: Nginx) -> None:
    large = bytes(1 << 17)
    blobs = {DIGEST: BLOB, BlobDigest.of(large): large}
    entry = CacheEntry(tuple(OutputFile(each.hex, each) for each in blobs)).write()
    methods = []

    for _ in range(2):
        before = len(lines(web))
        store(web.host, "/twice").keep(KEY.digest, entry, {**KEY.blobs, **blobs})
        methods.append([line.split('"')[1].split()[0] for line in lines(web)[before:]])
    assert methods == [["PUT", "HEAD", "PUT", "PUT"], ["PUT", "HEAD", "PUT"]]


def test_blob_of_another_size_is_missing(web: Nginx) -> None:
    large = bytes(1 << 17)
    digest = BlobDigest.of(large)
    entry = CacheEntry((OutputFile("a", digest),)).write()
    store(web.host, "/cut").keep(KEY.digest, entry, {digest: large})
    (web.files / "cut/cas" / digest.hex).write_bytes(large[1:])

    assert store(web.host, "/cut").missing([digest]) == {digest}


def test_connections_are_used_again(web: Nginx) -> None:
    opened = store(web.host)
    put(opened)
    for _ in range(20):
        assert get_blob(opened) == BLOB

    pool = opened._pool.connection_from_url(f"http://{web.host}")
    assert getattr(pool, "num_connections", 0) == 1


def test_connection_that_the_server_has_closed_is_opened_again() -> None:
    with caches.scripted(answer(200, BLOB)) as server:
        opened = store(server.host)

        assert [get_blob(opened) for _ in range(3)] == [BLOB] * 3


REFUSALS = {
    401: "it answers 401: its token or password is missing, wrong or expired; renew it",
    403: "it answers 403: its user may not do that; use it as another user, or only read from it",
    413: "it answers 413: the blob is too large for it; "
    "let the server, or the proxy before it, take more",
    507: "it answers 507: its disk is full; let the server delete old blobs",
    500: "it answers 500; look into the server's log",
    302: "it answers 302: a redirect, which is not followed; write the address that it leads to",
}


@pytest.mark.parametrize("call", [get_entry, get_blob, put])
@pytest.mark.parametrize("status", REFUSALS)
def test_refusal_is_a_line(status: int, call: Call) -> None:
    refusal = answer(status, b"", "Location: http://127.0.0.1:1/", "Content-Length: 0")
    with caches.scripted(refusal) as server, pytest.raises(StoreError) as raised:
        call(store(server.host))

    assert f"{raised.value.cause}; {raised.value.hint}" == REFUSALS[status]
    assert raised.value.writing == (call is put)
    assert len(server.heads) == 1, "it is not tried again, and no redirect is followed"


MISSES = {
    "another blob": answer(200, b"some bites"),
    "a short one": answer(200, BLOB[1:]),
    "a long one": answer(200, BLOB + b"!"),
    "a longer one": answer(200, bytes(1 << 18)),
    "one without an end": answer(200, bytes(1 << 18), "Content-Length: 99999999999"),
    "a page": answer(200, b"<html>"),
    "none": answer(404, b"not here, as this page explains in many words"),
    "no content": answer(204),
}


@pytest.mark.parametrize("case", MISSES)
def test_blob_that_is_not_as_its_digest_is_a_miss(case: str) -> None:
    with caches.scripted(MISSES[case]) as server:
        assert get_blob(store(server.host)) is None


def test_entry_that_is_too_large_is_a_miss() -> None:
    with caches.scripted(answer(200, bytes(MAX_ENTRY + 1))) as server:
        assert get_entry(store(server.host)) is None


FAILURES: dict[str, tuple[Behaviour, str]] = {
    "hangs": (caches.hang, "it does not answer in time"),
    "hangs in the head": (
        caches.hang_after(b"HTTP/1.1 200 OK\r\nCon"),
        "it does not answer in time",
    ),
    "hangs in the body": (
        caches.hang_after(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nsome"),
        "it does not answer in time",
    ),
    "closes": (lambda _: None, "Remote end closed connection without response"),
    "cuts the body": (
        answer(200, BLOB[1:], "Content-Length: 10"),
        "IncompleteRead(9 bytes read, 1 more expected)",
    ),
    "speaks another language": (lambda c: c.sendall(b"SSH-2.0-OpenSSH\r\n"), "SSH-2.0-OpenSSH"),
}


@pytest.mark.parametrize("call", [get_entry, get_blob])
@pytest.mark.parametrize("case", FAILURES)
def test_server_that_misbehaves_is_a_line(
    case: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline, "SILENCE", 0.5)
    behaviour, cause = FAILURES[case]
    with caches.scripted(behaviour) as server, pytest.raises(StoreError) as raised:
        call(store(server.host))

    assert (raised.value.cause, raised.value.writing) == (cause, False)


def test_machine_without_room_for_threads_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(StoreError, match="can't start new thread"):
        get_entry(store("127.0.0.1:1"))


def test_server_that_answers_byte_by_byte_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "SILENCE", 0.5)
    slow = caches.drip(b"HTTP/1.1 200 OK\r\n" + b"A: B\r\n" * 20)
    with caches.scripted(slow) as server, pytest.raises(StoreError, match="in time"):
        get_entry(store(server.host))


@pytest.mark.parametrize(
    ("host", "cause"),
    [
        pytest.param(f"127.0.0.1:{servers.free_port()}", "Connection refused", id="port"),
        pytest.param("none.invalid", "Name or service not known", id="host"),
    ],
)
def test_server_that_is_not_there_is_a_line(host: str, cause: str) -> None:
    with pytest.raises(StoreError) as raised:
        get_entry(store(host))

    assert raised.value.cause == cause


# Certificates and credentials


def test_both_sides_show_certificates(tmp_path: Path, certificates: Path) -> None:
    tls = Tls(*(str(certificates / name) for name in ("server.pem", "client.pem", "client.key")))
    with caches.nginx(tmp_path / "cache", tls=certificates) as web:
        opened = store(web.host, tls=tls)
        put(opened)

        assert get_blob(opened) == BLOB


CERTIFICATES = {
    "authority unknown": (Tls(), "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"),
    "another server": (
        Tls("other.pem"),
        "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed",
    ),
    "client without one": (Tls("server.pem"), "it answers 403"),
    "client with another": (Tls("server.pem", "other.pem", "other.key"), "it answers 400"),
}


@pytest.mark.parametrize("case", CERTIFICATES)
def test_wrong_certificate_is_a_line(case: str, tmp_path: Path, certificates: Path) -> None:
    tls, cause = CERTIFICATES[case]
    found = [str(certificates / name) if name else "" for name in (tls.ca, tls.cert, tls.key)]
    with (
        caches.nginx(tmp_path / "cache", tls=certificates) as web,
        pytest.raises(StoreError) as raised,
    ):
        get_entry(store(web.host, tls=Tls(*found)))

    assert raised.value.cause.startswith(cause)


def test_server_that_does_not_encrypt_is_a_line(web: Nginx) -> None:
    with pytest.raises(StoreError) as raised:
        get_entry(store(web.host, tls=Tls()))

    assert "SSL" in raised.value.cause
    assert raised.value.hint == "write the scheme that it speaks, or its authority's certificate"


def test_token_is_shown_and_stays_secret(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{caches.TOKEN}\n")
    guard = caches.GUARD.format(f"Bearer {caches.TOKEN}")
    with caches.nginx(tmp_path / "cache", guard=guard) as web:
        opened = store(web.host, token_file=str(tmp_path / "token"))
        put(opened)
        assert get_blob(opened) == BLOB

        with pytest.raises(StoreError, match="it answers 401"):
            get_entry(store(web.host))


def test_nginx_of_the_page_lets_all_read_and_one_write(tmp_path: Path, certificates: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/howto/cache.md").read_text()
    found = re.search(r"```nginx\n(.*?)```", page, re.DOTALL)
    assert found
    port = servers.free_port()
    server = found[1]
    for shown, used in {
        "listen 443": f"listen 127.0.0.1:{port}",
        "/etc/nginx/cache.pem": str(certificates / "server.pem"),
        "/etc/nginx/cache.key": str(certificates / "server.key"),
        "/etc/nginx/cache.htpasswd": str(tmp_path / "htpasswd"),
        "/srv/cache": str(tmp_path / "cache/files"),
    }.items():
        assert shown in server
        server = server.replace(shown, used)
    subprocess.run(
        ["htpasswd", "-bc", tmp_path / "htpasswd", "ci", "p@ss"], check=True, capture_output=True
    )
    tls = Tls(str(certificates / "server.pem"))
    reader, writer = f"localhost:{port}", f"ci:p%40ss@localhost:{port}"

    with caches.nginx_server(tmp_path / "cache", server, port):
        with pytest.raises(StoreError, match="it answers 401") as raised:
            put(store(reader, tls=tls))
        assert raised.value.writing
        put(store(writer, tls=tls))

        assert get_blob(store(reader, tls=tls)) == BLOB
        assert get_entry(store(reader, tls=tls)) == ENTRY


def test_redirect_gets_no_credentials(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(caches.TOKEN)
    with caches.scripted(answer(404)) as thief:
        away = answer(307, b"", f"Location: http://{thief.host}/ac/x", "Content-Length: 0")
        with caches.scripted(away) as server, pytest.raises(StoreError, match="redirect"):
            get_entry(store(server.host, token_file=str(tmp_path / "token")))

        assert thief.heads == []
        assert f"Authorization: Bearer {caches.TOKEN}".encode() in server.heads[0]


def test_proxy_of_the_environment_is_used(web: Nginx, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store(web.host))
    with forward({"cache.test": web.host}) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")

        assert get_blob(store("cache.test")) == BLOB
    assert [line.split("/cas/")[0] for line in proxy.log] == ["GET http://cache.test"]


def test_store_can_be_closed_while_others_use_it(web: Nginx) -> None:
    opened = store(web.host)
    put(opened)
    opened.close()

    assert get_blob(opened) == BLOB


def test_credentials_are_not_sent_unencrypted(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        store("cache.example", token_file="/token")

    assert str(raised.value) == (
        "cannot use cache http://cache.example: its credentials would be sent unencrypted; "
        "write https://, or give no credentials"
    )
