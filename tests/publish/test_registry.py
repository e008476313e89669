"""What is asked of a registry and how we log in: against a real one behind a gate."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from archives import TAR, build
from registries import BASIC, IDENTITY, PASSWORD, Fault, Gate, gate
from scratch_image.errors import RegistryError
from scratch_image.fs.digest import Digest
from scratch_image.image.settings import Reference
from scratch_image.publish import push, registry
from scratch_image.publish.registry import Repository, Tag


@pytest.fixture
def before(hub: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Gate]:
    """Give a gate before that registry; nobody is logged in."""
    monkeypatch.setattr(registry, "_WAITS", (0.01, 0.02))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with gate(hub) as made:
        yield made


@pytest.fixture
def log_in(before: Gate, tmp_path: Path) -> Callable[[str], None]:
    """Give what writes down who we are at the gate: by ``auth`` or ``identitytoken``."""

    def write(member: str) -> None:
        entry = {"auth": BASIC.partition(" ")[2], "identitytoken": IDENTITY}
        found = {"auths": {before.host: {member: entry[member]}}}
        (tmp_path / "config.json").write_text(json.dumps(found))

    return write


def pushed(gate: Gate, tmp_path: Path, *names: str) -> Digest:
    """Push a small image to the repositories `names`."""
    build(tmp_path / "x.oci.tar", [TAR])
    tags = [Tag.parse(f"http://{gate.host}/{name}:1") for name in names]
    return push.push(os.fsencode(tmp_path / "x.oci.tar"), tags).digest


@pytest.mark.parametrize(
    ("reference", "insecure", "text"),
    [
        ("ghcr.io/me/x:1", ["localhost"], "https://ghcr.io/me/x:1"),
        ("docker.io/me/x", [], "https://docker.io/me/x:latest"),
        ("localhost:5000/x:1", ["localhost"], "http://localhost:5000/x:1"),
        ("localhost:5000/x:1", ["localhost:5000"], "http://localhost:5000/x:1"),
        ("localhost:5000/x:1", ["localhost:50"], "https://localhost:5000/x:1"),
        ("[::1]:5000/x:1", ["[::1]"], "http://[::1]:5000/x:1"),
        ("localhost:5000/x:1", [], "https://localhost:5000/x:1"),
    ],
)
def test_tag_tells_where_and_how(reference: str, insecure: list[str], text: str) -> None:
    tag = Tag.of(Reference.parse(reference), insecure)

    assert str(tag) == text
    assert Tag.parse(text) == tag
    assert tag.shown == text.partition("://")[2]


def test_tag_that_is_not_there_is_none(before: Gate) -> None:
    assert registry.tagged(Tag.parse(f"http://{before.host}/none:1")) is None
    assert before.log == [("HEAD", "/v2/none/manifests/1", 404, 0)]


def test_registry_that_tells_no_digest_is_asked_for_the_manifest(
    before: Gate, tmp_path: Path
) -> None:
    digest = pushed(before, tmp_path, "silent")
    before.faults += [
        Fault(method, "/manifests/", headers={"Docker-Content-Digest": ""}, forward=True)
        for method in ("HEAD", "GET")
    ]

    assert registry.tagged(Tag.parse(f"http://{before.host}/silent:1")) == digest
    assert before.count("GET", "/manifests/1") == 1


@pytest.mark.parametrize("member", ["auth", "identitytoken"])
def test_token_is_fetched(
    before: Gate, log_in: Callable[[str], None], tmp_path: Path, member: str
) -> None:
    before.tokens = True
    log_in(member)

    digest = pushed(before, tmp_path, f"{member}/one", f"{member}/two")

    assert registry.tagged(Tag.parse(f"http://{before.host}/{member}/two:1")) == digest
    # For reading, for writing; for the second repository also for mounting; for reading again.
    assert before.count("GET" if member == "auth" else "POST", "/token") <= 6
    assert before.count("PUT", "/two/blobs/uploads/") == 0


@pytest.mark.parametrize(
    "challenge",
    [
        pytest.param("bearer {}", id="lower case"),
        pytest.param("BEARER {}", id="upper case"),
        pytest.param('Basic realm="x, Bearer y", Bearer {}', id="after another in one header"),
        pytest.param('Bearer {}, Basic realm="x"', id="before another in one header"),
        pytest.param('Basic realm="a \\" Bearer"\nBearer {}', id="in a header of its own"),
        pytest.param("Negotiate\nNTLM abc==\nBearer {}", id="after schemes not known"),
    ],
)
def test_token_is_fetched_however_the_registry_asks(
    before: Gate, log_in: Callable[[str], None], challenge: str
) -> None:
    before.tokens, before.challenge = True, challenge
    log_in("auth")

    assert registry.tagged(Tag.parse(f"http://{before.host}/none:1")) is None
    assert before.count("GET", "/token") == 1


@pytest.mark.parametrize(
    "challenge", ['basic realm="x"', 'BASIC realm="x"', 'Digest a=b\nBasic a="b"']
)
def test_password_is_shown_however_the_registry_asks(
    before: Gate, log_in: Callable[[str], None], challenge: str
) -> None:
    log_in("auth")
    before.faults.append(Fault("HEAD", "/", 401, {"WWW-Authenticate": challenge}))

    assert registry.tagged(Tag.parse(f"http://{before.host}/none:1")) is None
    assert before.seen == ["", BASIC]


def test_token_that_ran_out_is_fetched_again(
    before: Gate, log_in: Callable[[str], None], tmp_path: Path
) -> None:
    before.tokens = True
    log_in("auth")
    before.faults.append(
        Fault("PUT", "/uploads/", 401, {"WWW-Authenticate": _challenge(before, "old")})
    )

    assert pushed(before, tmp_path, "old")


def _challenge(gate: Gate, name: str) -> str:
    scope = f"repository:{name}:pull,push"
    return f'Bearer realm="http://{gate.host}/token",service="test",scope="{scope}"'


@pytest.mark.parametrize(
    ("fault", "realm", "message"),
    [
        pytest.param(
            None,
            "",
            "cannot log in at {host}/x: it answers 401 UNAUTHORIZED who are you?; "
            "run docker login {host}",
            id="nobody",
        ),
        pytest.param(
            None,
            "http://other.example/token",
            "cannot log in at {host}: it wants credentials in the clear; "
            "look into the registry's log",
            id="in the clear",
        ),
        pytest.param(
            Fault("GET", "/token", 200, {}, b'{"token": "two\\nlines"}'),
            "",
            "cannot trust {host}/x: its answer to the login has no token; "
            "look into the registry's log",
            id="no token",
        ),
        pytest.param(
            Fault("HEAD", "/", 401, {"WWW-Authenticate": 'Negotiate x==, Digest realm="x"'}),
            "",
            "cannot log in at {host}: it takes negotiate, digest alone; "
            "let the registry, or the proxy before it, take Bearer or Basic",
            id="other schemes",
        ),
        pytest.param(
            Fault("HEAD", "/", 401, {"WWW-Authenticate": 'Bearer service="x"'}),
            "",
            "cannot trust {host}/x: it asks for a token, and tells no realm; "
            "look into the registry's log",
            id="no realm",
        ),
        pytest.param(
            Fault("GET", "/token", 200, {}, b"[" * 100_000),
            "",
            "cannot trust {host}/x: its answer to the login has no token; "
            "look into the registry's log",
            id="deep JSON",
        ),
        pytest.param(
            Fault("GET", "/token", 503, times=9),
            "",
            "cannot log in at {host}/x: it answers 503; look into the registry's log",
            id="503 for ever",
        ),
    ],
)
def test_login_that_fails_is_a_line(
    before: Gate, fault: Fault | None, realm: str, message: str
) -> None:
    before.tokens, before.realm = True, realm
    before.faults += [fault] if fault else []

    with pytest.raises(RegistryError) as raised:
        registry.tagged(Tag.parse(f"http://{before.host}/x:1"))

    assert str(raised.value) == message.format(host=before.host)


def test_secret_that_a_registry_tells_is_not_shown(
    before: Gate, log_in: Callable[[str], None]
) -> None:
    log_in("auth")
    before.faults.append(Fault("HEAD", "/", 401, {"WWW-Authenticate": 'Basic realm="x"'}))
    told = {"errors": [{"code": "NO", "message": f"{BASIC} is {PASSWORD}"}]}
    before.faults.append(Fault("GET", "/", 400, {}, json.dumps(told).encode()))
    before.faults.append(Fault("HEAD", "/", 200))

    with pytest.raises(RegistryError) as raised:
        registry.tagged(Tag.parse(f"http://{before.host}/x:1"))

    assert str(raised.value) == (
        f"cannot ask for 1 in {before.host}/x: it answers 400 NO Basic *** is ***; "
        "look into the registry's log"
    )


def test_password_goes_nowhere_else(before: Gate, log_in: Callable[[str], None], hub: str) -> None:
    log_in("auth")
    before.faults.append(Fault("HEAD", "/", 401, {"WWW-Authenticate": 'Basic realm="x"'}))
    with gate(hub) as other:
        place = f"http://{other.host}/elsewhere"
        before.faults.append(Fault("POST", "/uploads/", 202, {"Location": place}))
        other.faults.append(Fault("PUT", "/elsewhere", 401, {"WWW-Authenticate": "Basic"}))
        repository = Repository(f"http://{before.host}", "x")
        assert repository.digest_of("1") is None

        with pytest.raises(RegistryError, match="it answers 401"):
            repository.put_blob(Digest.of(b""), 0, list)

        assert other.seen == [""]
    assert before.seen[1] == BASIC


def test_blob_that_lies_elsewhere_is_there(before: Gate) -> None:
    before.faults.append(Fault("HEAD", "/blobs/", 307, {"Location": "https://x.example/"}))

    assert Repository(f"http://{before.host}", "x").has_blob(Digest.of(b""))


def _closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "cause"),
    [
        pytest.param(f"127.0.0.1:{_closed_port()}", "Connection refused", id="nobody there"),
        pytest.param("none.invalid", "", id="no such host"),
    ],
)
def test_registry_that_is_not_there_is_a_line(host: str, cause: str) -> None:
    with pytest.raises(RegistryError) as raised:
        registry.tagged(Tag.parse(f"http://{host}/x:1"))

    text = str(raised.value)
    assert text.startswith(f"cannot reach registry {host}: {cause}")
    assert text.endswith("; see that it runs, and that the tag names its host")


def test_registry_that_does_not_encrypt_is_a_line(before: Gate) -> None:
    with pytest.raises(RegistryError) as raised:
        registry.tagged(Tag.parse(f"https://{before.host}/x:1"))

    assert str(raised.value).endswith(
        "; name its host in REGISTRY_INSECURE if nothing is to be encrypted"
    )


@pytest.mark.parametrize(
    ("told", "seconds"), [("3", 3.0), ("999999999999", 60.0), ("tomorrow", 0.0), ("", 0.0)]
)
def test_registry_may_ask_for_patience(told: str, seconds: float) -> None:
    answer = registry._Answer(429, {"retry-after": told}, b"")

    assert registry._wait(answer) == seconds


@pytest.mark.parametrize(
    ("origin", "place", "address"),
    [
        ("https://x.example", "/v2/up", "https://x.example/v2/up"),
        ("https://x.example", "https://y.example/up?a=b", "https://y.example/up?a=b"),
        ("https://x.example", "//y.example/up", "https://y.example/up"),
        ("https://x.example", "http://x.example/up", ""),
        ("https://x.example", "file:///etc/passwd", ""),
        ("https://x.example", "https://[", ""),
        ("http://x.example:5000", "http://x.example:5001/token", "http://x.example:5001/token"),
        ("http://x.example:5000", "http://y.example/token", ""),
    ],
)
def test_nothing_is_less_safe_than_the_registry(origin: str, place: str, address: str) -> None:
    assert Repository(origin, "x")._safe(place) == address
