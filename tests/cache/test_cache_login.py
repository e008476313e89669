from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from scratch_image.cache.address import Address
from scratch_image.cache.cache_login import CacheLogin, CredentialSources
from scratch_image.cache.store import StoreError
from scratch_image.errors import InputError

URL = "https://cache.example/main"


def login(url: str = URL, **sources: str) -> CacheLogin:
    return CacheLogin(Address.parse(url), CredentialSources(**sources))


def helper(directory: Path, script: str) -> str:
    """Make a credential helper of a shell script."""
    made = directory / "helper"
    made.write_text(f"#!/bin/sh\n{script}\n")
    made.chmod(0o755)
    return str(made)


def test_nothing_is_shown_without_credentials() -> None:
    assert login().headers() == {}


def test_user_of_the_url_comes_first(tmp_path: Path) -> None:
    found = login("https://fox:p%40ss@cache.example", token_file="/none", helper="/none")

    assert found.headers() == {"Authorization": "Basic Zm94OnBAc3M="}
    assert found.redact("it is Zm94OnBAc3M= or Basic Zm94OnBAc3M=") == "it is *** or ***"


def test_token_comes_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("  abc.DEF-1\n")

    assert login(token_file=str(tmp_path / "token")).headers() == {
        "Authorization": "Bearer abc.DEF-1"
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, ": No such file or directory"),
        ("", " has no token, or more than one"),
        ("a b", " has no token, or more than one"),
        ("a\r\nX: y", " has no token, or more than one"),
        ("tokén", ": it is not ASCII text"),
    ],
)
def test_file_without_a_token_is_a_line(text: str | None, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "token"
    if text is not None:
        path.write_bytes(text.encode())
    with pytest.raises(StoreError) as raised:
        login(token_file=str(path)).headers()

    assert raised.value.cause == f"its token file {path}{reason}"


@pytest.mark.parametrize(
    "sources", [{"token_file": "/token"}, {"helper": "/helper"}], ids=["token", "helper"]
)
@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_credentials_are_refused_where_others_can_read_them(
    scheme: str, sources: dict[str, str]
) -> None:
    with pytest.raises(InputError) as raised:
        login(f"{scheme}://cache.example:1/x", **sources)

    assert str(raised.value) == (
        f"cannot use cache {scheme}://cache.example:1/x: its credentials would be sent unencrypted; "
        f"write {scheme}s://, or give no credentials"
    )
    login(f"{scheme}://127.0.0.1:1/x", **sources)


def test_password_is_refused_where_others_can_read_it() -> None:
    with pytest.raises(InputError) as raised:
        login("http://fox:secret@cache.example")

    assert "secret" not in str(raised.value)


# Credential helpers


def test_helper_gets_the_url_and_gives_headers(tmp_path: Path) -> None:
    answer = {
        "headers": {"Authorization": ["Bearer x"], "X-Team": ["a", "b"], "Empty": []},
        "more": 1,
    }
    script = (
        f"echo \"$@\" > {tmp_path}/words; cat > {tmp_path}/question; echo '{json.dumps(answer)}'"
    )
    found = login(helper=helper(tmp_path, script))

    assert found.headers() == {"Authorization": "Bearer x", "X-Team": "a, b"}
    assert (tmp_path / "words").read_text() == "get\n"
    assert json.loads((tmp_path / "question").read_text()) == {"uri": URL}


@pytest.mark.parametrize(
    ("seconds", "runs"),
    [
        pytest.param(None, 1, id="for ever"),
        pytest.param(3600, 1, id="an hour"),
        pytest.param(-1, 2, id="over"),
    ],
)
def test_helper_runs_again_when_its_answer_has_expired(
    seconds: int | None, runs: int, tmp_path: Path
) -> None:
    answer: dict[str, object] = {"headers": {"A": ["b"]}}
    if seconds is not None:
        answer["expires"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
    found = login(
        helper=helper(tmp_path, f"echo run >> {tmp_path}/runs; echo '{json.dumps(answer)}'")
    )

    assert [found.headers() for _ in range(2)] == [{"A": "b"}] * 2
    assert (tmp_path / "runs").read_text() == "run\n" * runs


def test_helper_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper(tmp_path, "echo '{}'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    assert login(helper="helper").headers() == {}


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo secret; echo secret >&2; exit 3", "it ended with status 3"),
        ("echo secret", "its answer makes no sense"),
        ("echo []", "its answer makes no sense"),
        ("echo '{\"headers\": []}'", "its answer makes no sense"),
        ('echo \'{"headers": {"A": [1]}}\'', "its answer makes no sense"),
        ('echo \'{"headers": {"A: b": ["c"]}}\'', "its answer makes no sense"),
        ('echo \'{"headers": {"A": ["b\\nC: d"]}}\'', "its answer makes no sense"),
        ('echo \'{"headers": {"A": ["b"]}, "expires": "soon"}\'', "its answer makes no sense"),
        ("yes '['", "its answer makes no sense"),
    ],
)
def test_helper_that_fails_is_a_line(script: str, reason: str, tmp_path: Path) -> None:
    program = helper(tmp_path, script.replace("yes", "yes | head -c 100000 #"))
    with pytest.raises(StoreError) as raised:
        login(helper=program).headers()

    assert raised.value.cause == f"its credential helper {program}: {reason}"


def test_missing_helper_is_a_line() -> None:
    with pytest.raises(StoreError) as raised:
        login(helper="/none/helper").headers()

    assert raised.value.cause.startswith("its credential helper /none/helper: No such file")
