"""A health check by a page: the image brings the program, and an engine starts it."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from lab import NO_ENGINE, Scons
from project import Project, mistake_line

SERVER = r"""
#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>
int main(void)
{
    struct sockaddr_in place = {AF_INET, htons(8080)};
    int server = socket(AF_INET, SOCK_STREAM, 0), connection;
    bind(server, (struct sockaddr *)&place, sizeof place);
    listen(server, 9);
    while ((connection = accept(server, 0, 0)) >= 0) {
        char asked[999] = "";
        const char *answer = "HTTP/1.0 204 No Content\r\n\r\n";
        read(connection, asked, sizeof asked - 1);
        if (strstr(asked, "/ill"))
            answer = "HTTP/1.0 500 Oh\r\n\r\n";
        write(connection, answer, strlen(answer));
        close(connection);
    }
}
"""
LINES = """\
from scratch_image import HealthCheck
env["CC"] = "{cc}"
for name in ("well", "ill"):
    check = HealthCheck("http://127.0.0.1:8080/" + name, interval=0.2, retries=2)
    env.ScratchImage("build/" + name, {{"/usr/bin/server": "server"}}, RUNS=[], IMAGE_HEALTHCHECK=check)
"""


def _steps(output: str) -> list[str]:
    return [" ".join(found) for found in re.findall(r"^([A-Z]+)  +(\S+)", output, re.MULTILINE)]


def _docker(engine: str, *words: str) -> str:
    command = ["docker", "-H", engine, *words]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def _health(engine: str, name: str) -> dict[str, Any]:
    """Return the health of the container `name`, once it is known."""
    for _ in range(300):
        found: dict[str, Any] = json.loads(
            _docker(engine, "inspect", "--format={{json .State.Health}}", name)
        )
        if found["Status"] != "starting":
            break
        time.sleep(0.1)
    return found


def test_engine_checks_health_by_a_page(tmp_path: Path, newest: Scons, engine: str) -> None:
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    project = Project(tmp_path, newest, engine)
    project.compile("server", SERVER)

    output = project.run(LINES.format(cc="gcc"))

    assert re.search(r"^CHECK  well +[0-9.]+ kB by gcc, ", output, re.MULTILINE)
    try:
        for name in ("well", "ill"):
            _docker(engine, "run", "-d", "--network=none", "--read-only", f"--name={name}", name)
        well, ill = _health(engine, "well"), _health(engine, "ill")
    finally:
        _docker(engine, "rm", "-f", "well", "ill")
    assert well["Status"] == "healthy"
    assert well["Log"][-1]["Output"] == "HTTP/1.0 204 No Content"
    assert ill["Status"] == "unhealthy"


@pytest.mark.parametrize("jobs", [1, 8])
def test_compiler_rebuilds_what_it_affects(tmp_path: Path, newest: Scons, jobs: int) -> None:
    project = Project(tmp_path, newest)
    project.compile("server", SERVER)
    project.run(LINES.format(cc="gcc"), f"-j{jobs}")

    assert "is up to date" in project.run(LINES.format(cc="gcc"), f"-j{jobs}")
    other = _steps(project.run(LINES.format(cc="/usr/bin/gcc -Wall"), f"-j{jobs}"))
    assert sorted(other) == ["CHECK ill", "CHECK well"]
    page = LINES.format(cc="/usr/bin/gcc -Wall").replace('8080/" + name', '8081/"')
    paged = _steps(project.run(page, f"-j{jobs}"))
    assert sorted(paged) == ["IMAGE ill", "IMAGE well"]
    assert "is up to date" in project.run(page, f"-j{jobs}")
    program = _steps(project.run(page.replace("check)", '"/usr/bin/server")'), f"-j{jobs}"))
    steps = ("IMAGE", "LDD", "LIST", "TAR")
    assert sorted(program) == [f"{step} {name}" for step in steps for name in ("ill", "well")]


@pytest.mark.parametrize(
    ("compiler", "message"),
    [
        ("no-such-cc", "cannot build the health check: there is no compiler no-such-cc; apt-get "
         "install gcc, set CC, or name a program of the image instead of a page"),
        ("gcc -m16", "cannot build the health check: gcc says "),
    ],
)  # fmt: skip
def test_compiler_that_does_not_build_it(
    tmp_path: Path, newest: Scons, compiler: str, message: str
) -> None:
    project = Project(tmp_path, newest)
    project.compile("server", SERVER)

    output = project.run(LINES.format(cc=compiler), status=2)

    assert message in mistake_line(output)
    assert not list((tmp_path / "build").glob("*.health"))
