from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from scratch_image.errors import InputError
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem
from scratch_image.fs.unpacked_tree import BaseImage
from scratch_image.image import base_settings
from scratch_image.image.settings import HealthCheck, Settings

CONFIG: dict[str, Any] = {
    "Hostname": "",
    "Env": ["PATH=/bin", "A=b=c", "ODD"],
    "Cmd": ["x", "-y"],
    "Entrypoint": None,
    "User": "33:33",
    "WorkingDir": "/srv",
    "Labels": {"org.example.a": "b"},
    "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
    "Volumes": {"/data": {}},
    "StopSignal": "SIGQUIT",
    "Healthcheck": {"Test": ["CMD-SHELL", "x || exit 1"], "Timeout": 1500000000, "Retries": 3},
    "OnBuild": None,
}
SETTINGS = Settings(
    env={"A": "b=c", "PATH": "/bin"},
    cmd=("x", "-y"),
    user="33:33",
    workdir="/srv",
    labels={"org.example.a": "b"},
    ports=("53/udp", "80/tcp"),
    volumes=("/data",),
    stop_signal="SIGQUIT",
    health_check=HealthCheck(["/bin/sh", "-c", "x || exit 1"], timeout=1.5, retries=3),
)
EVERYTHING = ("cmd", "entrypoint", "env", "health_check", "labels", "ports", "stop_signal", "user",
              "volumes", "workdir")  # fmt: skip


def _root(settings: Settings, tree: bytes = b"/") -> Root:
    return Root(
        WatchedFileSystem(tree, image=BaseImage("image x:1", base_settings.texts(settings)))
    )


def test_config_of_an_engine() -> None:
    assert base_settings.parse(CONFIG) == SETTINGS
    assert base_settings.parse({}) == Settings()
    shell = {"Shell": ["/bin/bash", "-c"], "Healthcheck": {"Test": ["CMD-SHELL", "x"]}}
    assert base_settings.parse(shell).health_check == HealthCheck(["/bin/bash", "-c", "x"])
    assert base_settings.parse({"Healthcheck": {"Test": ["NONE"]}}).health_check is None


@pytest.mark.parametrize(
    ("config", "cause"),
    [
        ([], "they are no object"),
        ({"Env": "A=b"}, "Env is no list"),
        ({"Env": [1]}, "Env has a value that is no text"),
        ({"Cmd": ["a\0b"]}, "Cmd has a value that is no text"),
        ({"User": 33}, "User has a value that is no text"),
        ({"Labels": {"a": 1}}, "Labels has a value that is no text"),
        ({"Volumes": ["/x"]}, "Volumes is no object"),
        ({"Healthcheck": {"Test": ["CMD", "x"], "Retries": "3"}}, "Retries is no number"),
        ({"WorkingDir": "srv"}, "it is not absolute"),
        ({"ExposedPorts": {"http": {}}}, "it is not a port"),
    ],
)
def test_config_that_no_image_may_have(config: Any, cause: str) -> None:
    with pytest.raises((ValueError, InputError), match=cause):
        base_settings.parse(config)


def test_settings_are_taken_as_far_as_they_are_wanted() -> None:
    root = _root(SETTINGS)
    own = Settings(env={"A": "own"}, labels={"org.example.c": "d"}, architecture="arm64", user="1")

    found = base_settings.inherit(own, EVERYTHING, root)

    assert found.env == {"A": "own", "PATH": "/bin"}
    assert found.labels == {"org.example.a": "b", "org.example.c": "d"}
    assert (found.user, found.cmd, found.architecture) == ("33:33", ("x", "-y"), "arm64")
    assert found.health_check == SETTINGS.health_check
    root = _root(SETTINGS)
    assert base_settings.inherit(own, ("workdir",), root).workdir == "/srv"
    assert root.looked == {(b"WorkingDir", Aspect.SETTING)}


def test_variables_are_looked_up_one_by_one() -> None:
    root = _root(SETTINGS)

    assert base_settings.variables({"A": "own"}, ["A", "B"], root)["A"] == "own"
    assert base_settings.variables({}, ["A", "PATH"], root) == {"A": "b=c", "PATH": "/bin"}
    assert root.looked == {(each, Aspect.SETTING) for each in (b"Env.A", b"Env.B", b"Env.PATH")}
    assert base_settings.variables({}, ["PATH"], _root(Settings()))["PATH"].startswith("/usr/local")


@pytest.mark.parametrize(
    ("name", "text", "cause"),
    [
        ("User", "{", "User is no JSON"),
        ("User", "[" * 100000, "User is no JSON"),
        ("User", "7", "User has a value that is no text"),
    ],
)
def test_private_file_that_somebody_changed(name: str, text: str, cause: str) -> None:
    root = Root(WatchedFileSystem(image=BaseImage("x", {name: text})))

    with pytest.raises(InputError) as error:
        base_settings.inherit(Settings(), ("user",), root)

    assert str(error.value) == (
        f"cannot use the settings of the base image: {cause}; build its sysroot again"
    )


@pytest.fixture
def tree(tmp_path: Path) -> bytes:
    """Make a tree with a program, a link to it, and a file that is no program."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/box").write_text("")
    (tmp_path / "bin/box").chmod(0o755)
    (tmp_path / "bin/x").symlink_to("box")
    (tmp_path / "bin/data").write_text("")
    return os.fsencode(tmp_path)


def test_program_that_an_image_starts(tree: bytes) -> None:
    def program(**settings: Any) -> bytes:
        return base_settings.program(
            Settings(env={"PATH": "/none:/bin"}, **settings), Root(WatchedFileSystem(tree))
        )

    assert program(cmd=["x", "-y"]) == b"/bin/x"
    assert program(cmd=["-y"], entrypoint=["box"]) == b"/bin/box"
    assert program(cmd=["./x"], workdir="/bin") == b"/bin/box"
    assert base_settings.command(Settings(cmd=["-y"], entrypoint=["box"])) == ("box", "-y")
    for settings, cause in (
        ({}, "it has neither ENTRYPOINT nor CMD"),
        ({"cmd": ["data"]}, "it has no executable file data on its PATH"),
        ({"cmd": ["/bin/none"]}, "it has no executable file /bin/none"),
    ):
        with pytest.raises(InputError) as error:
            program(**settings)
        assert error.value.cause == cause
