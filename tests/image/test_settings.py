from __future__ import annotations

import pytest
from scratch_image.errors import InputError
from scratch_image.image.config import Image
from scratch_image.image.settings import HealthCheck, Settings


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
            "cannot check health with retries -1: it is less than 0; give a number",
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
