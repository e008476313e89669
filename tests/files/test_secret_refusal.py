from __future__ import annotations

import os
import random
import string
import tempfile
from pathlib import Path

import pytest
from lists import a_view, extra_lines
from scratch_image.errors import InputError, ListError
from scratch_image.files import secret_refusal
from scratch_image.files.merge import Merge, merge
from scratch_image.files.request import Request
from scratch_image.fs.overlay import Overlay
from scratch_image.fs.root import Root, WatchedFileSystem


@pytest.fixture
def secrets(base: Path) -> Path:
    for name in ("root/.netrc", "root/x", "etc/shadow", "srv/app/.git/config"):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text("secret")
    (base / "data/way").symlink_to("/root/x")
    return base


def test_all_secrets_are_named_with_their_requests(secrets: Path) -> None:
    requests = [
        Request(b"/root/.netrc", "run:default"),
        Request(b"/root/.netrc", "extra:x.extra", line="x.extra:3"),
        Request(b"/data/way", "run:default"),
        Request(b"/srv/app/.git/config", "extra:x.extra", required=False, line="x.extra:4"),
        Request(b"/root", "run:default"),
        Request(b"/root/.curlrc", "run:default", required=False),
    ]

    with pytest.raises(ListError) as error:
        merge(a_view(secrets), requests)

    assert str(error.value) == (
        "cannot list secrets: /root/.netrc is a secret (login and password), requested by "
        "run:default, x.extra:3, /root/x is a secret (home directory), requested by run:default, "
        "/srv/app/.git/config is a secret (git repository), requested by x.extra:4; leave them "
        "out, or add their paths to IMAGE_ALLOW if they belong into the image"
    )


def test_many_secrets_are_counted(secrets: Path) -> None:
    for at in range(30):
        (secrets / f"root/f{at:02}").write_text("")
    requests = [Request(b"/root/f%02d" % at, "run:1") for at in range(30)]

    with pytest.raises(ListError) as error:
        merge(a_view(secrets), requests)

    assert "requested by run:1, and 10 more; leave them out" in str(error.value)


@pytest.mark.parametrize("allowed", [b"/root/x", b"/root"])
def test_allowed_path_is_listed(secrets: Path, allowed: bytes) -> None:
    entries = Merge(a_view(secrets), [allowed]).extend([Request(b"/root/x", "run:1")])

    assert [entry.path for entry in entries] == [b"/root", b"/root/x"]


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        pytest.param("../root/.netrc -> /srv/a", True, id="name of the source"),
        pytest.param("../root/x -> /srv/.netrc", True, id="name in the image"),
        pytest.param("../root/x -> /etc/shadow", True, id="place in the image"),
        pytest.param("{base}/etc/shadow -> /srv/a", False, id="below another root"),
        pytest.param("/etc/shadow -> /srv/a", True, id="place on the machine"),
        pytest.param("../root/x -> /home/app/x", False, id="home of the image"),
        pytest.param("../root/x -> /root/x", False, id="home of root in the image"),
    ],
)
def test_mapped_files_are_judged_by_both_names(secrets: Path, line: str, secret: bool) -> None:
    try:
        extra_lines(secrets, line)
    except ListError as error:
        assert " is a secret" in str(error)
        assert secret
    else:
        assert not secret


def test_base_may_lie_in_a_home() -> None:
    with tempfile.TemporaryDirectory(dir=Path.home()) as home:
        for name in ("data/a", "root/x", "etc/shadow"):
            (Path(home) / name).parent.mkdir()
            (Path(home) / name).write_text("")
        root = Overlay(Root(WatchedFileSystem(os.fsencode(home))), b"/project")

        entries = merge(root, [Request(b"/data/a", "run:1")])
        for secret in (b"/root/x", b"/etc/shadow"):
            with pytest.raises(ListError, match=" is a secret"):
                merge(root, [Request(secret, "run:1")])

    assert [entry.path for entry in entries] == [b"/data", b"/data/a"]


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
    assert secret_refusal.in_variable(name, value) == kind


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
    assert secret_refusal.in_words(words) == kind


def test_refusal_names_the_setting_and_not_the_secret() -> None:
    with pytest.raises(InputError) as caught:
        secret_refusal.refuse_settings([], {"PORT": "80", "DB_PASSWORD": "hunter2"}, {})

    assert str(caught.value) == (
        "cannot use DB_PASSWORD: it holds a secret (password); take that out, or add DB_PASSWORD "
        "to IMAGE_ALLOW"
    )


def test_allowed_settings_may_look_like_secrets() -> None:
    allow, command = (b"DB_PASSWORD", b"RUNS"), ["app", "--password=hunter2"]

    secret_refusal.refuse_settings(allow, {"DB_PASSWORD": "hunter2"}, {"RUNS": command})
