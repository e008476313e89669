"""Whole builds that share results by servers: one fills a cache, others take all from it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import caches
import pytest
from lab import Lab, Scons

SHARED = 4
"""Steps of the lab that share their results: two traces, the libraries and the list."""
OUTPUTS = [".first.trace", ".first.stdout", ".second.trace", ".ldd", ".files", ".tar", ".oci.tar"]
SECRETS = ("pass-word-of-ci", caches.TOKEN, "key-of-ci" * 5)


@dataclass(frozen=True)
class Server:
    """A cache that wants credentials, and what an environment has to say to use it."""

    variables: dict[str, str]
    count: Callable[[], int]
    """Counts the requests so far."""


@contextmanager
def web(place: Path, certificates: Path) -> Iterator[Server]:
    """Run nginx, with certificates of both sides and a password."""
    basic = "Basic Y2k6cGFzcy13b3JkLW9mLWNp"  # ci:pass-word-of-ci
    with caches.nginx(place, tls=certificates, guard=caches.GUARD.format(basic)) as made:
        variables = {"IMAGE_CACHE": f"https://ci:{SECRETS[0]}@{made.host}/team"}
        yield Server(variables, lambda: len(made.log.read_text().splitlines()))


@contextmanager
def remote(place: Path, certificates: Path) -> Iterator[Server]:
    """Run buildbox-casd behind a gate with certificates of both sides and a token."""
    with (
        caches.casd(place) as casd,
        caches.grpc_gate(casd.host, certificates, f"Bearer {caches.TOKEN}") as gate,
    ):
        (place / "token").write_text(caches.TOKEN)
        variables = {
            "IMAGE_CACHE": f"grpcs://{gate.host}",
            "SCRATCH_IMAGE_CACHE_TOKEN_FILE": str(place / "token"),
        }
        yield Server(variables, lambda: len(gate.calls))


@dataclass
class Team:
    """A lab that has filled a cache, and more checkouts of its project."""

    lab: Lab
    server: Server
    place: Path

    def build(self, project: Path, *arguments: str, **variables: str) -> str:
        """Build in `project`; return what was printed."""
        ran = subprocess.run(
            [
                *self.lab.scons.command(),
                "-Q",
                f"engine={self.lab.engine}",
                *(
                    arguments
                    if any(a[:1] != "-" for a in arguments)
                    else (*arguments, "images/reader")
                ),
            ],
            cwd=project,
            env={
                **os.environ,
                "PYTHONPATH": self.lab.scons.path,
                **self.server.variables,
                **variables,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout
        assert "Traceback" not in ran.stdout, ran.stdout
        return ran.stdout

    def checkout(self) -> Path:
        """Return a new checkout of the project."""
        place = self.place / "b" / "checkout"
        shutil.rmtree(place, ignore_errors=True)
        self.lab.copy_project(self.lab.project, place)
        return place

    def outputs(self, project: Path) -> dict[str, bytes]:
        return {name: self.lab.out(name, project).read_bytes() for name in OUTPUTS}


@pytest.fixture(scope="module", params=[web, remote])
def team(
    request: pytest.FixtureRequest, newest: Scons, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Team]:
    place = tmp_path_factory.mktemp("team").resolve()
    place.chmod(0o755)
    for name in ("server", "client"):
        caches.certify(place, name)
    lab = Lab(place / "a", newest).make()
    tls = {"ca": "server.pem", "cert": "client.pem", "key": "client.key"}
    shown = {name: str(place / file) for name, file in tls.items()}
    sconstruct = lab.project / "SConstruct"
    sconstruct.write_text(
        sconstruct.read_text().replace("env.Image", f"env['IMAGE_CACHE_TLS'] = {shown}\nenv.Image")
    )
    (place / "key").write_text(SECRETS[2])
    with request.param(place / "cache", place) as server:
        server.variables["SCRATCH_IMAGE_CACHE_SIGN_KEY_FILE"] = str(place / "key")
        made = Team(lab, server, place)
        filled = made.build(lab.project, IMAGE_CACHE_WRITE="1")
        assert "from the cache" not in filled
        assert "cannot" not in filled
        yield made


def test_another_checkout_takes_all_and_asks_nothing_more(team: Team) -> None:
    project = team.checkout()
    printed = team.build(project, "--cache-debug=-", "--debug=explain")
    assert printed.count("from the cache") == SHARED
    assert team.outputs(project) == team.outputs(team.lab.project)

    before = team.server.count()
    again = team.build(project, "--tree=all,status")
    assert "from the cache" not in again
    assert team.server.count() == before, "a null build sends no request"

    printed += again + team.build(project, "help/images/reader")
    places = (*project.rglob("*"), *(team.place / "cache").rglob("*"))
    known = ("token", "nginx.conf", "access.log")
    files = [each for each in places if each.is_file() and each.name not in known]
    for secret in (*SECRETS, "Y2k6cGFzcy13b3JkLW9mLWNp"):
        assert secret not in printed
        assert [each for each in files if secret.encode() in each.read_bytes()] == []


def test_wrong_credentials_are_one_line_and_no_failure(team: Team) -> None:
    url = re.sub("//.*@", "//", team.server.variables["IMAGE_CACHE"])
    project = team.checkout()
    printed = team.build(project, IMAGE_CACHE=url, SCRATCH_IMAGE_CACHE_TOKEN_FILE="")

    (line,) = [each for each in printed.splitlines() if each.startswith("cannot ")]
    assert re.fullmatch(
        rf"cannot use cache {url}: it answers (401|UNAUTHENTICATED): its token or password is "
        "missing, wrong or expired; renew it",
        line,
    )
    assert team.outputs(project) == team.outputs(team.lab.project)


@pytest.mark.parametrize("team", [web], indirect=True)
@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("SCRATCH_IMAGE_CACHE_SIGN_KEY_FILE", "/none", "cannot use key /none: No such file or directory; "),
        ("IMAGE_CACHE", "https://a:pass-word-of-ci@localhost:1", "cannot use cache https://localhost:1: Connection refused; "),
        ("IMAGE_CACHE", "https://a:pass-word-of-$ci@localhost:1", "cannot use cache https://localhost:1: Connection refused; "),
        ("IMAGE_CACHE", "localhost/pass-word-of-ci@cache.example", "cannot use cache cache.example: it is no URL of a cache; "),
        ("IMAGE_CACHE", "http://a:pass-word-of-ci@cache.example", "cannot use cache http://cache.example: its credentials would be sent unencrypted; "),
    ],
)  # fmt: skip
def test_cache_that_cannot_be_used_is_one_line(
    name: str, value: str, line: str, team: Team
) -> None:
    printed = team.build(team.checkout(), "build/images/reader/reader.ldd", **{name: value})

    assert [each[: len(line)] for each in printed.splitlines() if "cannot" in each] == [line]
    assert "pass-word" not in printed


@pytest.mark.parametrize("team", [web], indirect=True)
def test_password_in_an_sconscript_is_refused(team: Team) -> None:
    project = team.checkout()
    sconstruct = project / "SConstruct"
    with_cache = f'env["IMAGE_CACHE"] = "https://ci:{SECRETS[0]}@cache.example"\nenv.Image'
    sconstruct.write_text(sconstruct.read_text().replace("env.Image", with_cache))

    printed = team.build(project, "build/images/reader/reader.ldd", IMAGE_CACHE="")

    assert "cannot use cache https://cache.example: an SConscript has its password" in printed
    assert SECRETS[0] not in printed
