"""Which proxy leads to a registry, by the environment; and pushes through a real one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from archives import TAR, build
from registries import BASIC, PASSWORD, USER, Forward, docker_registry, forward
from scratch_image.errors import InputError, RegistryError
from scratch_image.publish import proxy, push, registry, registry_client
from scratch_image.publish.credentials import Credentials
from scratch_image.publish.registry import Tag

QUOTED = PASSWORD.replace(":", "%3A")
P, Q = "http://p.test:3128", "http://q.test:3128"
URL = "https://registry.test:5000/v2/"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("environment", "url", "expected"),
    [
        pytest.param({}, URL, None, id="none"),
        pytest.param({"HTTPS_PROXY": P}, URL, P, id="upper case"),
        pytest.param({"https_proxy": P, "HTTPS_PROXY": Q}, URL, P, id="lower case counts more"),
        pytest.param({"HTTP_PROXY": Q}, URL, None, id="of the other scheme"),
        pytest.param({"HTTP_PROXY": Q}, "http://registry.test/", Q, id="http"),
        pytest.param({"ALL_PROXY": P}, URL, P, id="all"),
        pytest.param({"all_proxy": P, "https_proxy": Q}, URL, Q, id="its own before all"),
        pytest.param({"https_proxy": "p.test:3128"}, URL, P, id="without a scheme"),
        pytest.param({"https_proxy": ""}, URL, None, id="empty"),
        pytest.param({"https_proxy": P}, "https://localhost:5000/", None, id="this machine"),
        pytest.param({"https_proxy": P}, "https://127.0.0.1:5000/", None, id="its address"),
        pytest.param({"https_proxy": P}, "https://[::1]:5000/", None, id="its IPv6 address"),
    ],
)
def test_proxy_is_of_the_environment(
    environment: Mapping[str, str],
    url: str,
    expected: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    found = proxy.find(url)

    assert (found.url if found else None) == expected


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize(
    ("value", "url", "direct"),
    [
        ("registry.test", URL, True),
        ("other.test", URL, False),
        ("x.example, registry.test:5000", URL, True),
        ("registry.test:5001", URL, False),
        (".test", URL, True),
        ("test", URL, True),
        ("est", URL, False),
        ("*", URL, True),
        ("10.0.0.0/8", "https://10.1.2.3:5000/", True),
        ("10.0.0.0/8", "https://11.1.2.3:5000/", False),
        ("10.1.2.3", "https://10.1.2.3:5000/", True),
        ("10.1.2.3:5000", "https://10.1.2.3:5000/", True),
        ("10.1.2.3:5001", "https://10.1.2.3:5000/", False),
    ],
)
def test_no_proxy_names_what_is_asked_directly(
    name: str, value: str, url: str, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", P)
    monkeypatch.setenv(name, value)

    assert (proxy.find(url) is None) == direct


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param("socks5://{secret}@p.test:1080", "socks5://p.test:1080", id="SOCKS"),
        pytest.param("http://{secret}@", "http://", id="no host"),
        pytest.param("http://{secret}@p.test:port", "http://p.test:port", id="no port"),
    ],
)
def test_proxy_that_cannot_be_used_is_a_line(
    value: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value.format(secret=f"{USER}:{QUOTED}"))

    with pytest.raises(InputError) as raised:
        proxy.find(URL)

    assert str(raised.value) == (
        f"cannot use proxy {shown}: it is not like http://HOST:PORT; correct the variable HTTPS_PROXY, "
        "HTTP_PROXY or ALL_PROXY, or name registry.test:5000 in NO_PROXY"
    )


def test_name_and_password_are_for_the_proxy_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://{USER}:{QUOTED}@p.test:3128")

    found = proxy.find(URL)

    assert found == proxy.Proxy(P, Credentials(USER, PASSWORD))
    assert found.headers == {"Proxy-Authorization": BASIC}
    assert "horse" not in repr(found)


# Through a proxy.


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Iterator[Forward]:
    """Give a proxy that wants to know who we are, and that the environment names with that."""
    monkeypatch.setattr(registry_client, "_WAITS", (0.01, 0.02))
    with forward({}) as made:
        made.user = BASIC
        for name in ("HTTPS_PROXY", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://{USER}:{QUOTED}@127.0.0.1:{made.port}")
        yield made


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_push_goes_through_the_proxy(
    scheme: str, way: Forward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth = {"auths": {"registry.test:5000": {"auth": BASIC.partition(" ")[2]}}}
    (tmp_path / "config.json").write_text(json.dumps(auth))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    build(tmp_path / "x.oci.tar", [TAR])
    tag = Tag.parse(f"{scheme}://registry.test:5000/x:1")

    with docker_registry(tmp_path, auth=True, tls=scheme == "https") as host:
        way.places["registry.test:5000"] = host
        digest = push.push(os.fsencode(tmp_path / "x.oci.tar"), [tag]).digest

        assert registry.digest_of(tag) == digest
    connects = [line for line in way.log if line == "CONNECT registry.test:5000"]
    assert len(connects) == (len(way.log) if scheme == "https" else 0)
    assert way.log


@pytest.mark.parametrize(
    ("scheme", "user", "message"),
    [
        pytest.param("https", "Basic x", "cannot reach registry registry.test:5000: Tunnel connection "
                     "failed: 407 Proxy Authentication Required (proxy {proxy}); write the name "
                     "and password for the proxy into its variable: http://NAME:PASSWORD@HOST",
                     id="407 of a tunnel"),
        pytest.param("http", "Basic x", "cannot ask for 1 in registry.test:5000/x: it answers 407; "
                     "write the name and password for the proxy into its variable: "
                     "http://NAME:PASSWORD@HOST", id="407"),
        pytest.param("https", "", "cannot reach registry registry.test:5000: Tunnel connection "
                     "failed: 502 Bad Gateway (proxy {proxy}); see that the proxy runs and lets you "
                     "pass, or name registry.test:5000 in NO_PROXY", id="502 of a tunnel"),
    ],
)  # fmt: skip
def test_proxy_that_refuses_is_a_line(scheme: str, user: str, message: str, way: Forward) -> None:
    way.user = user

    with pytest.raises(RegistryError) as raised:
        registry.digest_of(Tag.parse(f"{scheme}://registry.test:5000/x:1"))

    assert str(raised.value) == message.format(proxy=f"http://127.0.0.1:{way.port}")
    assert len(way.log) == (1 if user else 3)


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_proxy_that_is_not_there_is_a_line(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", f"http://{USER}:{QUOTED}@127.0.0.1:9")

    with pytest.raises(RegistryError) as raised:
        registry.digest_of(Tag.parse(f"{scheme}://registry.test:5000/x:1"))

    assert str(raised.value) == (
        "cannot reach registry registry.test:5000: Connection refused (proxy http://127.0.0.1:9); "
        "see that the proxy runs and lets you pass, or name registry.test:5000 in NO_PROXY"
    )
