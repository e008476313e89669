"""Logins at a real registry, behind a gate that wants them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from registries import BASIC, PASSWORD, Fault, Gate, gate, pushed
from scratch_image.errors import RegistryError
from scratch_image.fs.digest import Digest
from scratch_image.publish import registry
from scratch_image.publish.registry import Repository, Tag


@pytest.mark.parametrize("member", ["auth", "identitytoken"])
def test_token_is_fetched(
    before: Gate, log_in: Callable[[str], None], tmp_path: Path, member: str
) -> None:
    before.tokens = True
    log_in(member)

    digest = pushed(before, tmp_path, f"{member}/one", f"{member}/two")

    assert registry.digest_of(Tag.parse(f"http://{before.host}/{member}/two:1")) == digest
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

    assert registry.digest_of(Tag.parse(f"http://{before.host}/none:1")) is None
    assert before.count("GET", "/token") == 1


@pytest.mark.parametrize(
    "challenge", ['basic realm="x"', 'BASIC realm="x"', 'Digest a=b\nBasic a="b"']
)
def test_password_is_shown_however_the_registry_asks(
    before: Gate, log_in: Callable[[str], None], challenge: str
) -> None:
    log_in("auth")
    before.faults.append(Fault("HEAD", "/", 401, {"WWW-Authenticate": challenge}))

    assert registry.digest_of(Tag.parse(f"http://{before.host}/none:1")) is None
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
            "cannot log in at {host}: it wants credentials by plain HTTP; "
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
            "cannot trust {host}/x: it wants a token, and names no realm; "
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
        registry.digest_of(Tag.parse(f"http://{before.host}/x:1"))

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
        registry.digest_of(Tag.parse(f"http://{before.host}/x:1"))

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
