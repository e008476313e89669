"""An image for several platforms, from one description."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import arm64
import pytest
from project import Project, mistake_line

PLATFORMS = """
base = env.Sysroot("out/base", directory="base")
env["IMAGE_PLATFORMS"] = {{"linux/arm64": base, "linux/amd64": "/"}}
env["IMAGE_ANNOTATIONS"] = {{"org.example.a": "b"}}
env.ScratchImage("out/x", {program}, EXTRA_FILES="x.extra", IMAGE_TAG="example/x:1")
"""


def _platform_names(path: Path) -> list[str]:
    command = ["skopeo", "inspect", "--raw", f"oci-archive:{path}:1"]
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    assert found["annotations"] == {"org.example.a": "b"}
    return [each["platform"]["architecture"] for each in found["manifests"]]


def _packed(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        return [member.name for member in tar if member.isfile()]


def test_one_description_gives_an_index_of_two_platforms(project: Project) -> None:
    arm64.make_base(project.directory / "base")
    arm64.make_hello(project.directory / "hello.arm64")
    shutil.copy("/bin/true", project.directory / "hello.amd64")
    (project.directory / "x.extra").write_text("conf -> /srv/conf\ninclude more/y.extra\n")
    (project.directory / "conf").write_text("conf")
    (project.directory / "more/files").mkdir(parents=True)
    (project.directory / "more/files/x").write_text("x")
    (project.directory / "more/y.extra").write_text("files -> /srv/files\n")
    program = {"/opt/hello": {"linux/arm64": "hello.arm64", "linux/amd64": "hello.amd64"}}
    sconstruct = PLATFORMS.format(program=program)

    output = project.run(sconstruct)

    out = project.directory / "out"
    assert re.search("^INDEX  x +sha256:[0-9a-f]{12}… for arm64, amd64, ", output, re.MULTILINE)
    assert _platform_names(out / "x.index.oci.tar") == ["arm64", "amd64"]
    assert _packed(out / "x.arm64.tar") == [
        "lib/ld-linux-aarch64.so.1", "lib/libc.so.6", "opt/hello", "srv/conf", "srv/files/x"
    ]  # fmt: skip
    assert "opt/hello" in _packed(out / "x.amd64.tar")
    assert "up to date" in project.run(sconstruct)

    (project.directory / "base/lib/libc.so.6").chmod(0o700)
    again = project.run(sconstruct)
    steps = [line.split()[:2] for line in again.splitlines() if re.match("[A-Z]+ ", line)]
    assert steps == [
        ["TRACE", "x.arm64"],
        ["LDD", "x.arm64"],
        ["LIST", "x.arm64"],
        ["TAR", "x.arm64"],
        ["IMAGE", "x.arm64"],
        ["INDEX", "x"],
    ]
    (project.directory / "more/files/x").write_text("other")
    assert "TAR    x.arm64" in project.run(sconstruct)
    (project.directory / "more/y.extra").write_text("# nothing\n")
    assert "LIST   x.arm64" in project.run(sconstruct)
    assert "up to date" in project.run(sconstruct)


MISTAKEN_PLATFORMS = [
    pytest.param("env.Strace('x', '/bin/true', TRACE_SPACE='1 GB')",
                 "cannot use TRACE_SPACE '1 GB': it is not a whole number from 1 to 9999999; ",
                 id="space of runs"),
    pytest.param("env.Strace('x', '/bin/true', TRACE_PROCESSES=0)",
                 "cannot use TRACE_PROCESSES 0: it is not a whole number from 1 to 9999999; ",
                 id="processes of runs"),
    pytest.param("env.Strace('x', '/bin/true', TRACE_ROOT='chroot')",
                 "cannot use TRACE_ROOT 'chroot': it is not 'auto', 'private' or 'plain'; write ",
                 id="view"),
    pytest.param("env.ScratchImage('x', '/bin/true', IMAGE_PLATFORMS={'arm64': '/'})",
                 "cannot build for platform 'arm64': it is not one that Docker has; ", id="unknown"),
    pytest.param("env.ScratchImage('x', '/bin/true', IMAGE_PLATFORMS="
                 "{'linux/arm64': '/', 'linux/arm64/v8': '/'})",
                 "cannot build for platform 'linux/arm64': another one is for arm64, too; name each "
                 "once", id="twice"),
    pytest.param("env.ImageIndex('x', ['a.oci.tar'], IMAGE_PLATFORMS={'linux/arm64': '/', 'linux/amd64': '/'})",
                 "cannot index x.index.oci.tar: it has 1 images for 2 platforms; give one for each, "
                 "in their order", id="other number"),
    pytest.param("env.ScratchImage('x', {'/x': {'linux/amd64': 'x'}}, IMAGE_PLATFORMS="
                 "{'linux/arm64': '/'})",
                 "cannot stage '/x' for linux/arm64: there is none for that platform; name one",
                 id="no file for a platform"),
    pytest.param("env.ScratchImage('x', {'/x': {'linux/amd64': 'x'}})",
                 "cannot stage '/x' by platform: there is no IMAGE_PLATFORMS; name one file, or set "
                 "it", id="files by platform for none"),
]  # fmt: skip


@pytest.mark.parametrize(("sconstruct", "message"), MISTAKEN_PLATFORMS)
def test_mistaken_platforms(project: Project, sconstruct: str, message: str) -> None:
    assert f"SConstruct:3: {message}" in mistake_line(project.run(sconstruct, status=2))
