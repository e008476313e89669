"""Tests of secrets_in_settings.py."""

from __future__ import annotations

import random
import string

import pytest
from scratch_image.errors import InputError
from scratch_image.files import secrets_in_settings

ALNUM, DIGITS, HEX = string.ascii_letters + string.digits, string.digits, "0123456789abcdef"


def some(alphabet: str, count: int) -> str:
    """Return `count` random characters, the same ones each time."""
    return "".join(random.Random(count).choices(alphabet, k=count))


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        pytest.param("AWS_SECRET_ACCESS_KEY", some(ALNUM, 40), "password", id="name"),
        pytest.param("DB_PASSWORD", "hunter2", "password", id="weak one"),
        pytest.param("GREETING", "gh" + "p_" + some(ALNUM, 36), "GitHub token", id="token"),
        pytest.param("DATABASE_URL", "postgres://app:hunter2@db/x", "password in a URL", id="URL"),
        pytest.param("DB_PASSWORD", "", "", id="empty"),
        pytest.param("DB_PASSWORD", "$OTHER", "", id="reference"),
        pytest.param("DB_PASSWORD_FILE", "/run/secrets/db", "", id="file"),
        pytest.param("SSH_AUTH_SOCK", "/run/agent", "", id="socket"),
        pytest.param("PATH", "/usr/local/sbin:/usr/bin", "", id="PATH"),
        pytest.param("GPG_KEY", some("0123456789ABCDEF", 40), "", id="fingerprint"),
        pytest.param("org.opencontainers.image.revision", some(HEX, 40), "", id="revision"),
        pytest.param("org.opencontainers.image.url", "https://example.org/x", "", id="address"),
    ],
)
def test_variable(name: str, value: str, kind: str) -> None:
    assert secrets_in_settings.in_variable(name, value) == kind


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        pytest.param(["app", "--password=hunter2"], "password", id="option"),
        pytest.param(["app", "--password", "hunter2"], "password", id="option and word"),
        pytest.param(["env", "API_TOKEN=hunter2", "app"], "password", id="variable"),
        pytest.param(["app", "xo" + "xb-" + some(DIGITS, 12) + "-" + some(ALNUM, 24)],
                     "Slack token", id="token"),
        pytest.param(["app", "http://a:hunter2@db"], "password in a URL", id="URL"),
        pytest.param(["app", "--password-file=/run/secrets/x", "--token", "/x"], "", id="files"),
        pytest.param(["app", "--help", "password"], "", id="words"),
        pytest.param([], "", id="nothing"),
    ],
)  # fmt: skip
def test_command(words: list[str], kind: str) -> None:
    assert secrets_in_settings.in_words(words) == kind


def test_refusal_names_the_setting_and_not_the_secret() -> None:
    with pytest.raises(InputError) as caught:
        secrets_in_settings.refuse_secrets([], {"PORT": "80", "DB_PASSWORD": "hunter2"}, {})

    assert str(caught.value) == (
        "cannot use DB_PASSWORD: it holds a secret (password); take that out, or add DB_PASSWORD "
        "to IMAGE_ALLOW"
    )


def test_allowed_settings_may_look_like_secrets() -> None:
    allow, command = (b"DB_PASSWORD", b"RUNS"), ["app", "--password=hunter2"]

    secrets_in_settings.refuse_secrets(allow, {"DB_PASSWORD": "hunter2"}, {"RUNS": command})
