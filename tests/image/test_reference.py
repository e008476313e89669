from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scratch_image.errors import InputError
from scratch_image.image.reference import Reference


@pytest.mark.parametrize(
    ("text", "familiar", "canonical"),
    [
        pytest.param("hello", "hello:latest", "docker.io/library/hello:latest", id="name"),
        pytest.param("hello:1.2", "hello:1.2", "docker.io/library/hello:1.2", id="tag"),
        pytest.param(
            "example/hello:1.2", "example/hello:1.2", "docker.io/example/hello:1.2", id="user"
        ),
        pytest.param(
            "docker.io/library/x", "x:latest", "docker.io/library/x:latest", id="canonical"
        ),
        pytest.param("docker.io/x", "x:latest", "docker.io/library/x:latest", id="half"),
        pytest.param("index.docker.io/a/x", "a/x:latest", "docker.io/a/x:latest", id="old host"),
        pytest.param("localhost/x", "localhost/x:latest", "localhost/x:latest", id="localhost"),
        pytest.param(
            "localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest", id="port"
        ),
        pytest.param(
            "localhost:5000", "localhost:5000", "docker.io/library/localhost:5000", id="port alone"
        ),
        pytest.param(
            "Example.org/a/b:T", "Example.org/a/b:T", "Example.org/a/b:T", id="upper case host"
        ),
        pytest.param("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest", id="IPv6"),
        pytest.param(
            "a/b_c/d__e-f--g.h",
            "a/b_c/d__e-f--g.h:latest",
            "docker.io/a/b_c/d__e-f--g.h:latest",
            id="separators",
        ),
        pytest.param(
            "x:" + "t" * 128, "x:" + "t" * 128, "docker.io/library/x:" + "t" * 128, id="longest tag"
        ),
    ],
)
def test_references(text: str, familiar: str, canonical: str) -> None:
    reference = Reference.parse(text)
    assert (familiar, canonical) == (reference.familiar, reference.canonical)
    assert familiar == str(reference)
    assert reference == Reference.parse(familiar) == Reference.parse(canonical)


WORDS = (
    "the name is not made of words of letters and digits, joined by one of / . _ __ -; rename it"
)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        pytest.param("", "it is empty; write NAME or NAME:TAG", id="empty"),
        pytest.param(
            "x@sha256:" + "0" * 64,
            "it has a digest; write NAME:TAG; the digest follows from the image",
            id="digest",
        ),
        pytest.param("Hello", "the name has upper case letters; write library/hello", id="upper"),
        pytest.param(
            "x:", "the tag '' is not made of letters, digits, _ . and -; rename it", id="empty tag"
        ),
        pytest.param(
            "x:-1", "the tag '-1' is not made of letters, digits, _ . and -; rename it", id="dash"
        ),
        pytest.param(
            "x:1\n",
            "the tag '1\\n' is not made of letters, digits, _ . and -; rename it",
            id="newline",
        ),
        pytest.param(
            "x:" + "t" * 129, "the tag has more than 128 characters; shorten it", id="129"
        ),
        pytest.param(
            "x/" * 127 + "xx", "the name has more than 255 characters; shorten it", id="256"
        ),
        pytest.param("a" * 64, "64 hex digits are an image ID; choose another name", id="ID"),
        pytest.param(":1", WORDS, id="no name"),
        pytest.param("a//b", WORDS, id="two slashes"),
        pytest.param("a b", WORDS, id="space"),
        pytest.param("-a", WORDS, id="dash first"),
        pytest.param("a___b", WORDS, id="three underscores"),
        pytest.param("käse", WORDS, id="not ASCII"),
        pytest.param("x.y_z/a", "'x.y_z' is not a host; write HOST:PORT/NAME:TAG", id="host"),
        pytest.param("x:y/a", "'x:y' is not a host; write HOST:PORT/NAME:TAG", id="port"),
    ],
)
def test_text_that_is_not_a_reference(text: str, cause: str) -> None:
    with pytest.raises(InputError) as caught:
        Reference.parse(text)
    shown = text if len(text) <= 80 else text[:77] + "..."
    assert f"cannot tag image {shown!r}: {cause}" == str(caught.value)


@given(st.text("aB0./:_-@ ", max_size=40))
def test_a_reference_is_refused_or_stays_itself(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except InputError:
        return
    assert reference == Reference.parse(reference.canonical)


@pytest.mark.parametrize(
    ("text", "hosted"),
    [
        ("hello", False),
        ("example/hello:1", False),
        ("docker.io/example/hello", True),
        ("docker.io/hello", True),
        ("localhost:5000/hello", True),
        ("ghcr.io/me/hello:1", True),
    ],
)
def test_reference_tells_whether_the_user_named_the_host(text: str, hosted: bool) -> None:
    assert Reference.parse(text).hosted == hosted
