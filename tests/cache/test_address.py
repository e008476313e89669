from __future__ import annotations

import pytest
from scratch_image.cache.address import Address
from scratch_image.errors import InputError
from scratch_image.publish.credentials import Credentials

GOOD = {
    "https://cache.example": ("cache.example:443", "", "https://cache.example:443"),
    "http://cache.example:8080/a/b/": (
        "cache.example:8080",
        "a/b",
        "http://cache.example:8080/a/b",
    ),
    "grpc://127.0.0.1": ("127.0.0.1:80", "", "http://127.0.0.1:80"),
    "grpcs://[::1]/main": ("[::1]:443", "main", "https://[::1]:443/main"),
    "grpcs://fox:p%40ss@Cache.example:1": ("cache.example:1", "", "https://cache.example:1"),
}


@pytest.mark.parametrize("text", GOOD)
def test_url_is_an_address(text: str) -> None:
    found = Address.parse(text)

    assert (found.host, found.path, found.web) == GOOD[text]
    assert found.scheme == text.partition(":")[0]


def test_user_and_password_are_kept_apart() -> None:
    found = Address.parse("https://fox:p%40ss@cache.example/x")

    assert found.user == Credentials("fox", "p@ss")
    assert str(found) == "https://cache.example/x"
    assert "p@ss" not in repr(found)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ftp://cache.example", "ftp://cache.example"),
        ("cache.example", "cache.example"),
        ("https://", "https://"),
        ("https://cache.example?token=secret", "https://cache.example"),
        ("https://cache.example#a", "https://cache.example"),
        ("https://cache.example/a b", "https://cache.example/a b"),
        ("https://cache.example:port", "https://cache.example:port"),
        ("https://[::1", "https://[::1"),
        ("https://fox:secret@cache.example:port", "https://cache.example:port"),
        ("https://fox:sec/ret@cache.example", "https://cache.example"),
        ("https://fox:1/ret@cache.example", "https://cache.example"),
        ("htps://fox:secret@cache.example", "htps://cache.example"),
        ("fox:secret@cache.example", "cache.example"),
    ],
)
def test_anything_else_is_a_line_without_secrets(text: str, shown: str) -> None:
    with pytest.raises(InputError) as raised:
        Address.parse(text)

    assert str(raised.value) == (
        f"cannot use cache {shown}: it is no URL of a cache; "
        "write https://HOST/PATH, grpcs://HOST/INSTANCE, or an absolute directory"
    )


@pytest.mark.parametrize(
    ("text", "private"),
    [
        ("https://cache.example", True),
        ("grpcs://cache.example", True),
        ("http://cache.example", False),
        ("grpc://10.0.0.1:9092", False),
        ("http://localhost:9090", True),
        ("grpc://127.0.0.1:9092", True),
        ("http://[::1]:9090", True),
        ("http://localhost.example", False),
    ],
)
def test_credentials_go_encrypted_or_stay_on_this_machine(text: str, private: bool) -> None:
    assert Address.parse(text).is_private == private
