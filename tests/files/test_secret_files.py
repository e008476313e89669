from __future__ import annotations

import pytest
from scratch_image.files.secret_files import MAGICS, key_file_kind


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
