from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import time
from pathlib import Path

import pytest
from loads import ID, NAME, http, liar
from registries import forward
from scratch_image.errors import EngineError
from scratch_image.publish import engine, ping


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        pytest.param("unix:///no/such.sock", "No such file or directory", id="no socket"),
        pytest.param(f"unix:///tmp/{'x' * 200}", "AF_UNIX path too long", id="long path"),
        pytest.param("tcp://127.0.0.1:1", "Connection refused", id="refused"),
        pytest.param("ssh://", "", id="no host"),
        pytest.param("nonsense://x", "", id="unknown protocol"),
        pytest.param("", "", id="empty"),
    ],
)
def test_an_engine_that_is_not_there(tmp_path: Path, text: str, cause: str) -> None:
    if not text:
        text = f"unix://{tmp_path}"
        cause = "Connection refused"
    assert not ping.answers(text)
    with pytest.raises(EngineError) as caught:
        engine.image_id(text, NAME)
    assert str(caught.value).startswith(f"cannot reach engine at {text}: {cause}")
    assert str(caught.value).endswith("; start it, or set DOCKER_HOST")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "all_proxy"])
def test_proxy_is_not_asked_for_an_engine_of_this_machine(
    address: str, tcp: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert engine.image_id(tcp, NAME) is None
    assert ping.answers(address)


def test_engine_behind_a_proxy(tcp: str, daemon: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with forward({"engine.test:2375": tcp.removeprefix("tcp://")}) as way:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{way.port}")

        assert ping.answers("tcp://engine.test:2375")

    assert way.log == ["GET http://engine.test:2375/_ping"]
    for value, message in (
        ("http://fox:horse@127.0.0.1:9", "cannot reach engine at tcp://engine.test:2375: Connection "
         "refused; see that the proxy runs and lets you pass, or name the engine's host in NO_PROXY"),
        ("socks5://fox:horse@p.test", "cannot use proxy socks5://p.test: it is not like http://HOST:PORT; "
         "correct the variable HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, or name engine.test:2375 in "
         "NO_PROXY"),
    ):  # fmt: skip
        monkeypatch.setenv("HTTP_PROXY", value)
        with pytest.raises(EngineError) as caught:
            engine.image_id("tcp://engine.test:2375", NAME)
        assert str(caught.value) == message


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_socket_that_one_may_not_use() -> None:
    directory = Path(tempfile.mkdtemp(dir="/tmp"))
    directory.chmod(0o700)
    address = f"unix://{directory}/docker.sock"
    os.seteuid(65534)
    try:
        with pytest.raises(EngineError) as caught:
            engine.image_id(address, NAME)
    finally:
        os.seteuid(0)
        directory.rmdir()
    assert (
        f"cannot reach engine at {address}: Permission denied; "
        "add the user who runs scons to the group that owns the socket"
    ) == str(caught.value)


WHO = "see that Docker or Podman listens there"

LOOK = "look into the engine's log"


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        pytest.param(b"", f"anything: its answer is not HTTP; {WHO}", id="nothing"),
        pytest.param(b"\x00" * 999, f"anything: its answer is not HTTP; {WHO}", id="garbage"),
        pytest.param(b"HTTP/1.0 200 OK\r\n", f"anything: its answer is not HTTP; {WHO}", id="head"),
        pytest.param(
            http(b'{"Id":"', length=99), f"anything: its answer was cut off; {LOOK}", id="cut off"
        ),
        pytest.param(http(bytes(17 << 20)), f"anything: its answer has no end; {WHO}", id="huge"),
        pytest.param(
            http(b"{}"), f"for image {NAME}: its answer has no image ID; {WHO}", id="no ID"
        ),
        pytest.param(
            http(json.dumps({"Id": "../x", "RootFS": {}}).encode()),
            f"for image {NAME}: its answer has no image ID; {WHO}",
            id="no digest",
        ),
        pytest.param(
            http(json.dumps({"Id": [ID], "RootFS": {}}).encode()),
            f"for image {NAME}: its answer has no image ID; {WHO}",
            id="a list",
        ),
        pytest.param(
            http(json.dumps({"Id": ID, "RootFS": {"Layers": 7}}).encode()),
            f"for image {NAME}: its answer has no image ID; {WHO}",
            id="layers are a number",
        ),
        pytest.param(
            http(b"[1]"), f"for image {NAME}: its answer is not a JSON object; {WHO}", id="array"
        ),
        pytest.param(
            http(b"[" * 99999),
            f"for image {NAME}: its answer is not a JSON object; {WHO}",
            id="deep",
        ),
        pytest.param(
            http(b'{"message":"kaputt;\\n\\u001b[31m now"}', "500 Internal Server Error"),
            f"for image {NAME}: it answers 500 kaputt; [31m now; {LOOK}",
            id="500",
        ),
        pytest.param(
            http(b"<html>", "403 Forbidden"), f"for image {NAME}: it answers 403; {LOOK}", id="403"
        ),
    ],
)
def test_nonsense_answers(answer: bytes, cause: str) -> None:
    with liar(answer) as address:
        with pytest.raises(EngineError) as caught:
            engine.image_id(address, NAME)
        assert f"cannot ask engine at {address} {cause}" == str(caught.value)


def test_an_engine_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "ASK_SECONDS", 0.1)
    directory = tempfile.mkdtemp(prefix="mute-", dir="/tmp")
    address = f"unix://{directory}/docker.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{directory}/docker.sock")
        server.listen()
        before = time.monotonic()
        with pytest.raises(EngineError) as caught:
            engine.image_id(address, NAME)
        assert time.monotonic() - before < 5
    shutil.rmtree(directory)
    assert f"cannot reach engine at {address}: timed out; start it, or set DOCKER_HOST" == str(
        caught.value
    )
