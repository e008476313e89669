from __future__ import annotations

import io

import pytest
from scratch_image.errors import InputError
from scratch_image.fs.digest import CHUNK, Digest, Tally

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_digest_of_nothing_is_the_known_one() -> None:
    assert str(Digest.of(b"")) == EMPTY
    assert Digest.of_stream(io.BytesIO(b"")) == Digest(EMPTY)
    assert Digest(EMPTY).hex == EMPTY[7:]


def test_a_stream_of_several_chunks_is_read_to_its_end() -> None:
    data = bytes(range(256)) * (CHUNK // 128)

    assert Digest.of_stream(io.BytesIO(data)) == Digest.of(data)


def test_parse_takes_what_a_digest_writes() -> None:
    assert Digest.parse(EMPTY) == Digest.of(b"")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param(EMPTY[:-1], id="one digit short"),
        pytest.param(EMPTY + "0", id="one digit long"),
        pytest.param(EMPTY.upper(), id="upper case"),
        pytest.param("sha512:" + "0" * 128, id="other algorithm"),
        pytest.param(EMPTY + "\n", id="newline"),
    ],
)
def test_parse_refuses_what_is_no_digest(text: str) -> None:
    with pytest.raises(InputError) as error:
        Digest.parse(text)

    assert str(error.value) == (
        f"cannot read digest {text!r}: it is not sha256: and 64 hex digits; "
        "only SHA-256 digests are understood"
    )


def test_short_digest_fits_a_line() -> None:
    assert Digest("sha256:" + "0123456789abcdef" * 4).short == "sha256:0123456789ab…"


def test_a_tally_without_a_source_is_empty() -> None:
    assert Tally().read(1) == b""
