from __future__ import annotations

import re

import pytest
from scratch_image.files.secret_kinds import (
    MAGICS,
    RULES,
    TOKENS,
    is_password,
    is_random,
    is_strong,
    key_file_kind,
)


def test_patterns_begin_with_plain_text() -> None:
    for rule in RULES:
        assert re.match(rb"\\?[\w:{<\"$/-]", rule.pattern), rule.kind


def test_tokens_have_beginnings() -> None:
    assert all(kind and begins.split() and re.compile(body) for kind, begins, body in TOKENS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"qT7xkW02mLpZ9vRa", True),
        (b"xxxxxxxxxxxxxxxx", False),
        (b"0123456789abcdef", False),
        (b"AKIAIOSFODNN7EXAMPLE", False),
    ],
)
def test_random_text(text: bytes, expected: bool) -> None:
    assert is_random(text) is expected


@pytest.mark.parametrize(
    ("text", "password", "strong"),
    [
        (b"hunter2x9", True, True),
        (b"correct", True, False),
        (b"changeme", False, False),
        (b"${DB_PASSWORD}", False, False),
        (b"getpass1.getpass()", True, False),
        (b"/run/secrets/db1", False, False),
        (b"", False, False),
    ],
)
def test_password(text: bytes, password: bool, strong: bool) -> None:
    assert is_password(text) is password
    assert is_strong(text) is strong


@pytest.mark.parametrize(("kind", "magic"), MAGICS)
def test_first_bytes_that_only_key_files_have(kind: str, magic: bytes) -> None:
    assert key_file_kind(magic + bytes(40)) == kind


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", ""),
        (b"SQLite format 3\0" + b"CREATE TABLE users", ""),
        (b"SQLite format 3\0" + b"CREATE TABLE nssPrivate", "NSS key database"),
        (b"\x30\x03\x02\x01\x01", ""),
        (b"\xfe\xed\xfe\xed\0\0\0\2\0\0\0\0", ""),
        (b"\xfe\xed\xfe\xed\0\0\0\2\0\0\0\1\0\0\0\1\0\4mine", "Java key store"),
    ],
)
def test_key_file(content: bytes, kind: str) -> None:
    assert key_file_kind(content) == kind
