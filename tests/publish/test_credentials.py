from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from scratch_image.errors import RegistryError
from scratch_image.publish import credentials
from scratch_image.publish.credentials import Credentials

SECRET = "correct-horse"
BASE64 = base64.b64encode(f"fox:{SECRET}".encode()).decode()

HELPER = """\
#!/bin/sh
read -r server
echo "$1 $server" >>"{log}"
{answer}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    """Give what writes Docker's config.json."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))

    def write(found: object) -> None:
        text = found if isinstance(found, str) else json.dumps(found)
        (tmp_path / "config.json").write_text(text)

    return write


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Give what makes ``docker-credential-test``, a shell script that ends in the given words."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def make(answer: str) -> Path:
        program = tmp_path / "docker-credential-test"
        program.write_text(HELPER.format(log=tmp_path / "log", answer=answer))
        program.chmod(0o755)
        return tmp_path / "log"

    return make


@pytest.mark.parametrize(
    ("host", "found", "expected"),
    [
        pytest.param("x.example", {}, Credentials(), id="nothing"),
        pytest.param(
            "x.example",
            {"auths": {"x.example": {"auth": BASE64}}},
            Credentials("fox", SECRET),
            id="password",
        ),
        pytest.param(
            "x.example:5000",
            {"auths": {"https://x.example:5000/v2/": {"auth": BASE64}}},
            Credentials("fox", SECRET),
            id="written as an address",
        ),
        pytest.param(
            "docker.io",
            {"auths": {"https://index.docker.io/v1/": {"auth": BASE64}}},
            Credentials("fox", SECRET),
            id="Docker Hub",
        ),
        pytest.param(
            "x.example",
            {"auths": {"x.example": {"auth": BASE64, "identitytoken": "token"}}},
            Credentials(identity="token"),
            id="identity token",
        ),
        pytest.param(
            "y.example", {"auths": {"x.example": {"auth": BASE64}}}, Credentials(), id="another"
        ),
        pytest.param(
            "x.example", {"auths": {"x.example": {}}}, Credentials(), id="in a helper that is gone"
        ),
    ],
)
def test_config_tells_who_the_user_is(
    config: Callable[[object], None], host: str, found: object, expected: Credentials
) -> None:
    config(found)

    assert credentials.find(host) == expected


def test_user_without_a_login_has_no_credentials(config: object) -> None:
    assert credentials.find("x.example") == Credentials()


@pytest.mark.parametrize(
    ("found", "answer", "expected"),
    [
        pytest.param(
            {"credsStore": "test"},
            f"""echo '{{"Username":"fox","Secret":"{SECRET}"}}'""",
            Credentials("fox", SECRET),
            id="store",
        ),
        pytest.param(
            {"credHelpers": {"x.example": "test"}},
            f"""echo '{{"Username":"<token>","Secret":"{SECRET}"}}'""",
            Credentials(identity=SECRET),
            id="identity token of a helper for this host",
        ),
        pytest.param(
            {"credsStore": "test", "auths": {"x.example": {"auth": BASE64}}},
            "echo credentials not found in native keychain; exit 1",
            Credentials("fox", SECRET),
            id="store that has none",
        ),
    ],
)
def test_helper_is_asked(
    config: Callable[[object], None],
    helper: Callable[[str], Path],
    found: object,
    answer: str,
    expected: Credentials,
) -> None:
    config(found)
    log = helper(answer)

    assert credentials.find("x.example") == expected
    assert log.read_text() == "get x.example\n"


NO_SENSE = (
    "cannot find credentials for x.example: Docker's config.json, or the helper that it names, "
    "makes no sense; run docker login x.example"
)


@pytest.mark.parametrize(
    ("found", "answer", "message"),
    [
        pytest.param(
            {"credsStore": "none"},
            "",
            "cannot find credentials for x.example: docker-credential-none is not there; "
            "install it",
            id="helper missing",
        ),
        pytest.param({"credsStore": "test"}, f"echo {SECRET}; exit 3", NO_SENSE, id="fails"),
        pytest.param({"credsStore": "test"}, f"echo {SECRET}", NO_SENSE, id="not JSON"),
        pytest.param({"credsStore": "test"}, "echo '{}'", NO_SENSE, id="no fields"),
        pytest.param(
            {"credsStore": "test"}, """echo '{"Username":1,"Secret":[2]}'""", NO_SENSE, id="types"
        ),
        pytest.param({"credHelpers": ["x"]}, "", NO_SENSE, id="helpers of another shape"),
        pytest.param({"auths": {"x.example": {"auth": "?"}}}, "", NO_SENSE, id="not base64"),
        pytest.param({"auths": {"x.example": 7}}, "", NO_SENSE, id="entry of another shape"),
        pytest.param([7], "", NO_SENSE, id="no object"),
    ],
)
def test_config_without_sense_is_a_line_without_secrets(
    config: Callable[[object], None],
    helper: Callable[[str], Path],
    found: object,
    answer: str,
    message: str,
) -> None:
    config(found)
    helper(answer)

    with pytest.raises(RegistryError) as raised:
        credentials.find("x.example")

    assert str(raised.value) == message


def test_secrets_are_not_shown() -> None:
    found = Credentials("fox", SECRET, "token")

    assert repr(found) == "Credentials(username='fox')"
    assert found.basic == f"Basic {BASE64}"
