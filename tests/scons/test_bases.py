"""Images of an engine's image: they take its settings, and start what it starts."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import arm64
import pytest
from lab import NO_ENGINE, Scons
from packages import copy_programs
from project import Project, mistake_line

ENTRYPOINT = """\
#!/bin/sh
. /etc/fat.conf
exec "$@"
"""
SETTINGS = (
    'ENV GREETING="good day" LANG=C.UTF-8',
    'ENTRYPOINT ["/entrypoint.sh"]',
    'CMD ["cat", "greeting"]',
    "USER 33",
    "WORKDIR /srv",
    "EXPOSE 8080 53/udp",
    "VOLUME /srv/data",
    'LABEL org.example.team=web org.example.tier="front"',
    'HEALTHCHECK --interval=5s --retries=2 CMD ["/bin/cat", "/srv/greeting"]',
)
CONFIG = {
    "Cmd": ["cat", "greeting"],
    "Entrypoint": ["/entrypoint.sh"],
    "ExposedPorts": {"53/udp": {}, "8080/tcp": {}},
    "Healthcheck": {
        "Interval": 5_000_000_000,
        "Retries": 2,
        "Test": ["CMD", "/bin/cat", "/srv/greeting"],
    },
    "Labels": {"org.example.team": "web", "org.example.tier": "front"},
    "User": "33",
    "Volumes": {"/srv/data": {}},
    "WorkingDir": "/srv",
}
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SLIM = """\
fat = env.Sysroot("build/fat", image="example/fat:1")
env.ScratchImage("build/slim", ROOT=fat{})
"""


class Fat:
    """A fat image in an engine, which tests give other settings and files."""

    def __init__(self, directory: Path, engine: str) -> None:
        self.engine = engine
        self.tree = directory / "tree"
        copy_programs(self.tree, ("/usr/bin/sh", "/usr/bin/cat", "/usr/bin/ls", "/usr/bin/sleep"))
        for name in ("etc", "srv/data", "usr/share/doc"):
            (self.tree / name).mkdir(parents=True)
        (self.tree / "etc/fat.conf").write_text("NAME=fat\n")
        (self.tree / "srv/greeting").write_text("hello\n")
        (self.tree / "usr/share/doc/long").write_text("x" * 2_000_000)
        (self.tree / "entrypoint.sh").write_text(ENTRYPOINT)
        (self.tree / "entrypoint.sh").chmod(0o755)

    def load(self, *settings: str, tag: str = "example/fat:1", tree: Path | None = None) -> None:
        """Give the engine the image of a tree with `settings`, as a Dockerfile has them."""
        changes = [word for each in settings for word in ("--change", each)]
        pack: list[str | Path] = ["tar", "-c", "-C", tree or self.tree, "."]
        tar = subprocess.run(pack, capture_output=True, check=True)
        self.docker("import", *changes, "-", tag, data=tar.stdout)

    def docker(self, *words: str, data: bytes = b"", status: int = 0) -> str:
        """Run docker; return its output."""
        command = ["docker", "-H", self.engine, *words]
        ran = subprocess.run(command, input=data, capture_output=True)
        assert ran.returncode == status, ran.stderr
        return ran.stdout.decode()

    def config(self, tag: str = "slim:latest") -> dict[str, Any]:
        """Return the config of an image that the engine has, but for what is empty."""
        [found] = json.loads(self.docker("inspect", tag))
        config: dict[str, Any] = found["Config"]
        return {key: value for key, value in config.items() if value and key != "Image"}


@pytest.fixture(scope="module")
def fat(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Fat:
    """Give a fat image."""
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    made = Fat(tmp_path_factory.mktemp("fat"), engine)
    made.load(*SETTINGS)
    return made


@pytest.fixture
def project(tmp_path: Path, newest: Scons, fat: Fat) -> Project:
    """Give a project with the engine that has the fat image."""
    return Project(tmp_path, newest, fat.engine)


def _steps(output: str) -> list[str]:
    return [line.split()[0] for line in output.splitlines() if line[:1].isupper() and "  " in line]


def test_image_starts_what_the_fat_one_starts(project: Project, fat: Fat) -> None:
    output = project.run(SLIM.format(""))

    config = fat.config()
    assert sorted(config.pop("Env")) == ["GREETING=good day", "LANG=C.UTF-8", PATH]
    assert config == CONFIG
    assert fat.docker("run", "--rm", "--network=none", "slim:latest") == "hello\n"
    assert re.search(r"^\d+ files and \d\.\d MB of image example/fat:1 stay behind; ", output, re.M)
    assert "is up to date" in project.run(SLIM.format(""))
    assert "default in a root of its own and in a container" in project.run(
        SLIM.format(""), "test/build/slim"
    )


def test_image_of_another_architecture(project: Project, fat: Fat) -> None:
    tree = arm64.make_base(project.directory / "arm64")
    fat.load('CMD ["/usr/bin/hello"]', tag="example/arm64:1", tree=tree)
    sconstruct = SLIM.format("").replace("fat:1", "arm64:1")

    project.run(sconstruct, "build/slim.oci.tar")

    assert (project.directory / "build/slim.stdout").read_text() == "hello\n"
    command = ["skopeo", "inspect", "--config", "--raw", "oci-archive:build/slim.oci.tar:latest"]
    shown = subprocess.run(command, cwd=project.directory, capture_output=True, check=True)
    config = json.loads(shown.stdout)
    assert (config["architecture"], config["config"]["Cmd"]) == ("arm64", ["/usr/bin/hello"])
    assert "is up to date" in project.run(sconstruct, "build/slim.oci.tar")


OWN = """, RUNS="entrypoint.sh cat /srv/greeting", IMAGE_CMD=["cat", "/etc/fat.conf"], IMAGE_USER="",
    IMAGE_ENV={"LANG": "C"}, IMAGE_LABELS={"org.example.team": "db"}, IMAGE_PORTS=[],
    IMAGE_VOLUMES=[], IMAGE_HEALTHCHECK=[], IMAGE_WORKDIR="/"
"""


def test_project_sets_what_it_wants_otherwise(project: Project, fat: Fat) -> None:
    project.run(SLIM.format(OWN))

    config = fat.config()
    assert sorted(config.pop("Env")) == ["GREETING=good day", "LANG=C", PATH]
    assert config == {
        "Cmd": ["cat", "/etc/fat.conf"],
        "Entrypoint": ["/entrypoint.sh"],
        "Labels": {"org.example.team": "db", "org.example.tier": "front"},
        "WorkingDir": "/",
    }
    assert fat.docker("run", "--rm", "--network=none", "slim:latest") == "NAME=fat\n"


def test_program_of_the_project_goes_before_what_the_fat_image_starts(
    project: Project, fat: Fat
) -> None:
    lines = SLIM.format("").replace("ROOT=fat", "'/bin/ls', ROOT=fat, IMAGE_HEALTHCHECK=()")
    project.run(lines + "env.ScratchImage('build/cmd', '/bin/ls', ROOT=fat, IMAGE_CMD='ls /etc',"
                " IMAGE_HEALTHCHECK=[])\n")  # fmt: skip

    slim, cmd = fat.config(), fat.config("cmd:latest")
    assert (slim["Entrypoint"], slim.get("Cmd"), slim["User"]) == (["/bin/ls"], None, "33")
    assert (cmd.get("Entrypoint"), cmd["Cmd"]) == (None, ["ls", "/etc"])


MISTAKES = [
    pytest.param(['HEALTHCHECK CMD cat /srv/greeting', 'CMD ["cat", "/srv/greeting"]'], "",
                 "start '/bin/sh' of IMAGE_HEALTHCHECK: the image does not have it; ",
                 id="check by a shell"),
    pytest.param(['ENTRYPOINT ["/entrypoint.sh"]', 'CMD ["ls", "/nothing"]'], "",
                 "cannot trace run default: it ended with status 2, not with status 0, and said ", id="script that fails"),
    pytest.param(['ENTRYPOINT ["/entrypoint.sh"]'], "", "", id="script with nothing to execute"),
    pytest.param(["USER 33"], "",
                 "cannot find the program of the base image: it has neither ENTRYPOINT nor CMD; "
                 "name a program", id="no command"),
    pytest.param(['CMD ["none", "x"]'], "",
                 "cannot find the program of the base image: it has no executable file none on its "
                 "PATH; name another program", id="no program"),
    pytest.param(['CMD ["cat"]', "ENV API_KEY=Zq8v2Lw9sKd3Fh7TzX1c"], "",
                 "cannot use API_KEY: it holds a secret", id="secret"),
    pytest.param(['CMD ["cat"]', "ENV API_KEY=Zq8v2Lw9sKd3Fh7TzX1c"], ", IMAGE_ALLOW='API_KEY'",
                 "", id="no secret"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "variables", "message"), MISTAKES)
def test_fat_image_that_gives_no_small_one(
    project: Project, fat: Fat, settings: list[str], variables: str, message: str
) -> None:
    fat.load(*settings, tag="example/odd:1")

    output = project.run(
        SLIM.format(variables).replace("fat:1", "odd:1"), status=2 if message else 0
    )

    if message:
        assert message in mistake_line(output)
        assert not (project.directory / "build/slim.oci.tar").exists()


PACK = ["IMAGE", "LOAD"]
EDITS = {
    "LABEL org.example.tier=front": ["ROOT"],
    "LABEL org.example.team=db": ["ROOT", *PACK],
    "USER 34": ["ROOT", "LIST", *PACK],
    "ENV GREETING=hi": ["ROOT", "TRACE", *PACK],
    'CMD ["cat", "/etc/fat.conf"]': ["ROOT", "TRACE", "LDD", "LIST", "TAR", *PACK],
    "ENV PATH=/bin": ["ROOT", "TRACE", "LDD", "LIST", *PACK],
}
"""Lines that a Dockerfile gets, one after the other, and the steps that each affects."""


@pytest.mark.parametrize("jobs", [1, 8])
def test_setting_of_the_fat_image_rebuilds_exactly_what_it_affects(
    project: Project, fat: Fat, jobs: int
) -> None:
    lines, settings = SLIM.format("").replace("fat:1", "edited:1"), [*SETTINGS]
    fat.load(*SETTINGS, tag="example/edited:1")
    project.run(lines, f"-j{jobs}")
    for edit, expected in EDITS.items():
        settings.append(edit)
        fat.load(*settings, tag="example/edited:1")
        assert sorted(_steps(project.run(lines, f"-j{jobs}"))) == sorted(expected), edit
        assert "is up to date" in project.run(lines, f"-j{jobs}"), edit
    (project.directory / "build/fat.root.image").write_text("")
    assert _steps(project.run(lines)) == ["ROOT"]
    assert "is up to date" in project.run(lines)
