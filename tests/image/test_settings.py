from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scratch_image.errors import InputError
from scratch_image.image.config import Image
from scratch_image.image.settings import HealthCheck, Reference, Settings


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        *(
            pytest.param(
                Settings("amd64", ports=[port]),
                f"cannot expose port {port!r} of the image: it is not a port; write 8080 or 53/udp",
                id=f"port {port}",
            )
            for port in ("", "0", "65536", "80/http", "8080:80", "-1", "80/tcp\n")
        ),
        pytest.param(
            Settings("amd64", workdir="srv"),
            "cannot set working directory 'srv' of the image: it is not absolute; begin it with /",
            id="relative working directory",
        ),
        pytest.param(
            Settings("amd64", volumes=["/data", "data"]),
            "cannot set volume 'data' of the image: it is not absolute; begin it with /",
            id="relative volume",
        ),
        *(
            pytest.param(
                Settings("amd64", env={name: value}),
                f"cannot set variable {name!r} of the image: the name is empty, or has a = or a "
                "NUL in it; rename it",
                id=f"variable {name!r}",
            )
            for name, value in (("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "\0"))
        ),
        *(
            pytest.param(
                Settings("amd64", stop_signal=name),
                f"cannot stop the image by {name!r}: it is not a signal; write SIGTERM or its "
                "number",
                id=f"signal {name}",
            )
            for name in ("TERM!", "SIGNAL", "SIGRTMIN+16", "0", "65", "SIGTERM\n")
        ),
        pytest.param(
            Settings("amd64", volumes=["//"]),
            "cannot set volume '//' of the image: it would hide all of it; name a directory",
            id="everything is a volume",
        ),
        *(
            pytest.param(
                Settings("amd64", user=user),
                f"cannot run the image as {user!r}: it is not a user; write NAME, a number up to "
                "2147483647, or either with :GROUP",
                id=f"user {user}",
            )
            for user in ("a b", ":", "a:b:c", "2147483648", "0:2147483648", "-1", "a\n")
        ),
        *(
            pytest.param(
                Settings("amd64", labels={key: ""}),
                f"cannot annotate image by {key!r}: it is empty, or has a blank or a = in it; "
                "write it like org.example.key",
                id=f"key {key}",
            )
            for key in ("", "a b", "a=b", "a\0")
        ),
        pytest.param(
            Settings("amd64", labels={"org.opencontainers.image.ref.name": ""}),
            "cannot annotate image by org.opencontainers.image.ref.name: that is its tag; set "
            "IMAGE_TAG instead",
            id="tag as a label",
        ),
        *(
            pytest.param(
                Settings("amd64", labels={key: ""}),
                f"cannot annotate image by {key}: OCI reserves org.opencontainers. and has no such "
                "key; write org.opencontainers.image. and one of authors, base.digest, base.name, "
                "created, description, documentation, licenses, revision, source, title, url, "
                "vendor, version, or a domain of your own",
                id=f"key {key}",
            )
            for key in ("org.opencontainers.image.name", "org.opencontainers.title")
        ),
        pytest.param(
            Settings("amd64", health_check=HealthCheck([])),
            "cannot check health by nothing: it has no command; name a program of the image",
            id="health of nothing",
        ),
        *(
            pytest.param(
                Settings("amd64", health_check=HealthCheck(["/x"], timeout=timeout)),
                f"cannot check health with timeout {timeout}: it is not a time that engines take; "
                "give seconds",
                id=f"timeout {timeout}",
            )
            for timeout in (-1, 0.0001, float("inf"), float("nan"))
        ),
        pytest.param(
            Settings("amd64", health_check=HealthCheck(["/x"], retries=-1)),
            "cannot check health retries -1: it is less than 0; give a number",
            id="retries",
        ),
        pytest.param(
            Settings("amd64", created=1 << 60),
            "cannot date image 1152921504606846976: no calendar has that year; "
            "give seconds since 1970",
            id="year",
        ),
    ],
)
def test_a_setting_that_no_image_can_have(wrong: Settings, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Image(wrong, ()).config.json()
    assert message == str(caught.value)


def test_annotations_are_checked_like_labels() -> None:
    with pytest.raises(InputError) as caught:
        Settings(annotations={"org.opencontainers.x": ""}).check()
    assert str(caught.value).startswith("cannot annotate image by org.opencontainers.x: OCI ")
    keys = ["org.opencontainers.image.title", "org.example/x", "maintainer"]
    Settings(annotations=dict.fromkeys(keys, "")).check()


@pytest.mark.parametrize(
    "name", ["SIGTERM", "SIGRTMIN", "SIGRTMIN+15", "SIGRTMAX-1", "1", "15", "64"]
)
def test_signals(name: str) -> None:
    assert Settings(stop_signal=name).document() == {"StopSignal": name}


@pytest.mark.parametrize(
    ("user", "written"),
    [
        pytest.param("app", "app", id="name"),
        pytest.param("2147483647:app-1.x", "2147483647:app-1.x", id="number and group"),
        pytest.param("nonroot", "65532", id="nonroot"),
        pytest.param("nonroot:nonroot", "65532:65532", id="nonroot and its group"),
        pytest.param("nonroots", "nonroots", id="somebody else"),
    ],
)
def test_users(user: str, written: str) -> None:
    assert Settings(user=user).document() == {"User": written}


@pytest.mark.parametrize(
    ("check", "written"),
    [
        pytest.param(HealthCheck(["/x", "y"]), {"Test": ["CMD", "/x", "y"]}, id="command"),
        pytest.param(
            HealthCheck(["/x"], interval=0.5, timeout=2, start_period=1, retries=4),
            {
                "Test": ["CMD", "/x"],
                "Interval": 500_000_000,
                "Timeout": 2_000_000_000,
                "StartPeriod": 1_000_000_000,
                "Retries": 4,
            },
            id="all",
        ),
    ],
)
def test_health_checks(check: HealthCheck, written: dict[str, object]) -> None:
    assert Settings(health_check=check).document() == {"Healthcheck": written}


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
            "it has a digest; write NAME:TAG; the digest comes of itself",
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
def test_what_is_not_a_reference(text: str, cause: str) -> None:
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
