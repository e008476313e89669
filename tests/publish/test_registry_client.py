from __future__ import annotations

import socket

import pytest
from registries import Gate
from scratch_image.errors import RegistryError
from scratch_image.publish import registry, registry_client
from scratch_image.publish.registry import Tag
from scratch_image.publish.registry_client import RegistryClient


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
        registry.digest_of(Tag.parse(f"http://{host}/x:1"))

    text = str(raised.value)
    assert text.startswith(f"cannot reach registry {host}: {cause}")
    assert text.endswith("; see that it runs, and that the tag names its host")


def test_registry_that_does_not_encrypt_is_a_line(before: Gate) -> None:
    with pytest.raises(RegistryError) as raised:
        registry.digest_of(Tag.parse(f"https://{before.host}/x:1"))

    assert str(raised.value).endswith(
        "; name its host in REGISTRY_INSECURE if nothing is to be encrypted"
    )


@pytest.mark.parametrize(
    ("told", "seconds"), [("3", 3.0), ("999999999999", 60.0), ("tomorrow", 0.0), ("", 0.0)]
)
def test_registry_may_ask_for_patience(told: str, seconds: float) -> None:
    answer = registry_client.RegistryAnswer(429, {"retry-after": told}, b"")

    assert answer.wait == seconds


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
    assert RegistryClient(origin, "x").safe_url(place) == address
