"""`ScratchImage` and builders: nodes that are no files, and construction variables."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from lab import NO_ENGINE, PACKAGE, Scons

HEAD = f"""\
DefaultEnvironment(tools=[])
env = Environment(
    tools=["textfile", "scratch_image"], toolpath=["{PACKAGE.parent}"], DOCKER_HOST="{NO_ENGINE}"
)
value, alias, directory = env.Value("x"), env.Alias("all", []), env.Dir("place")
"""

MISTAKES = {
    'env.ScratchImage("x", {})': "cannot make an image of {}: it is {}; name a program",
    'env.ScratchImage("x", "/bin/true", EXTRA_FILES={})': "cannot use '{}' for x.files: it is {}; "
    "name a file",
    'env.Strace({}, "/bin/true")': "cannot use '{}' for {}: it is {}; name a file",
    **{
        f'env.{builder}("x", {{}})': f"cannot use '{{}}' for x{suffix}: it is {{}}; name a file"
        for builder, suffix in {
            "Strace": ".strace", "Ldd": ".ldd", "FileList": ".files", "LayerTar": ".tar",
            "LayerStack": ".layers", "OciImage": ".oci.tar", "ImageIndex": ".index.oci.tar",
            "DockerLoad": ".iid", "RegistryPush": ".pushed", "ImageTest": ".tested",
            "SeccompProfile": ".seccomp.json", "ImageReport": ".report.html",
            "Sysroot": ".sysroot",
        }.items()
    },
    'env.Sbom("x.spdx.json", {})': "cannot use '{}' for x.spdx.json: it is {}; name a file",
}  # fmt: skip

KINDS = {
    "value": ("x", "a value"),
    "alias": ("all", "an alias"),
    "directory": ("place", "a directory"),
}


def test_node_that_is_no_file_is_a_line(tmp_path: Path, scons: Scons) -> None:
    (tmp_path / "place").mkdir()
    calls, expected = [], []
    for call, told in MISTAKES.items():
        for node, (name, kind) in KINDS.items():
            calls.append(call.format(node))
            names = [name] * (told.count("{}") - 1)
            expected.append(told.format(*names, kind))
    for kind in ("value", "alias"):
        calls.append(f'env.ScratchImage("x", {{"/bin/x": {kind}}})')
        told = "cannot stage '/bin/x': {} is {}; stage files and directories"
        expected.append(told.format(*KINDS[kind]))
    calls.append('env.LayerTar("x", "place")')
    expected.append("cannot use 'place': it is a directory; name a file")
    (tmp_path / "SConstruct").write_text(
        f"{HEAD}for call in {calls!r}:\n    try:\n        eval(call)\n"
        "    except SystemExit:\n        pass\n    else:\n        print('taken:', call)\nExit(0)\n"
    )

    ran = scons.run(tmp_path, "-Q", "-n")

    lines = [line for line in ran.stdout.splitlines() if "scons: ***" in line]
    assert "taken:" not in ran.stdout
    assert "Traceback" not in ran.stdout
    assert len(lines) == len(expected), ran.stdout
    for line, text in zip(lines, expected, strict=True):
        assert text in line


SUBSTITUTED = """\
env.Append(VERSION="1.2", PREFIX="/opt/x", STEM="out/image", PLACE="out", WORDS="words")
env.Textfile("out/words", "words")
env.ScratchImage(
    "$STEM-$$-$VERSION",
    {"$PREFIX/bin/x": "$PROGRAM", "${PREFIX}/words-${VERSION}": "$PLACE/words.txt"},
    PROGRAM=env.File("/bin/true"),
    RUNS=[],
    IMAGE_TAG="x",
    EXTRA_FILES="$WORDS-${VERSION}.extra",
)
"""


def test_variables_in_stems_programs_and_paths_are_substituted(
    tmp_path: Path, scons: Scons
) -> None:
    (tmp_path / "SConstruct").write_text(HEAD + SUBSTITUTED)
    (tmp_path / "words-1.2.extra").write_text("/etc/issue\n")

    ran = scons.run(tmp_path, "-Q")

    assert ran.returncode == 0, ran.stdout
    listed = (tmp_path / "out/image-$-1.2.files").read_text()
    for path in ("/opt/x/bin/x", "/opt/x/words-1.2", "/etc/issue"):
        assert f" {path} " in listed
    assert "Targets of out/image-$-1.2:" in scons.run(tmp_path, "-Q", "help/out/image-$-1.2").stdout


VALUES = """\
env.Append(VERSION="1.2", NAME="hello", PORT=8080)
env.ScratchImage(
    "x",
    {"/bin/x$$": env.File("/bin/echo")},
    RUNS=[["x", "$VERSION", "$$HOME"]],
    EXTRA_FILES="a$$b.extra",
    IMAGE_TAG=["me/$NAME:$VERSION", "me/$NAME:latest"],
    IMAGE_LABELS={"version": "$VERSION"},
    IMAGE_ENV={"VERSION": "v$VERSION", "DOLLAR": "$$X"},
    IMAGE_CMD=["$VERSION", "$$HOME"],
    IMAGE_ENTRYPOINT=["/bin/x$$"],
    IMAGE_PORTS=["$PORT"],
    IMAGE_USER="$ACCOUNT",
    ACCOUNT="65532",
)
env.ScratchImage("y", {"/bin/x$$y": env.File("/bin/true")})
"""


def test_variables_in_values_are_substituted_once(tmp_path: Path, scons: Scons) -> None:
    (tmp_path / "SConstruct").write_text(HEAD + VALUES)
    (tmp_path / "a$b.extra").write_text("/etc/issue\n")

    ran = scons.run(tmp_path, "-Q")

    assert ran.returncode == 0, ran.stdout
    assert (tmp_path / "x.stdout").read_text() == "1.2 $HOME\n"
    assert " /etc/issue " in (tmp_path / "x.files").read_text()
    config, tags = _config(tmp_path / "x.oci.tar")
    assert config["Cmd"] == ["1.2", "$HOME"]
    assert config["Labels"] == {"version": "1.2"}
    assert {"VERSION=v1.2", "DOLLAR=$X"} <= {*config["Env"]}
    assert [*config["ExposedPorts"]] == ["8080/tcp"]
    assert config["User"] == "65532"
    assert tags == ["me/hello:1.2", "me/hello:latest"]
    assert _config(tmp_path / "y.oci.tar")[0]["Entrypoint"] == ["/bin/x$y"]
    assert "scons: `.' is up to date." in scons.run(tmp_path, "-Q").stdout


def _config(archive: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the config of the image in `archive`, and its tags."""
    with tarfile.open(archive) as tar:
        [image] = json.loads(_member(tar, "manifest.json"))
        return json.loads(_member(tar, image["Config"]))["config"], image["RepoTags"]


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    stream = tar.extractfile(name)
    assert stream
    return stream.read()


@pytest.mark.parametrize(
    "call",
    [
        '"x", "/bin/true", IMAGE_CMD="$NONE"',
        '"$NONE/x", "/bin/true"',
        '"x", {"/$NONE/x": "/bin/true"}',
    ],
)
def test_variable_that_is_not_set_is_a_line(tmp_path: Path, newest: Scons, call: str) -> None:
    (tmp_path / "SConstruct").write_text(f"{HEAD}env.ScratchImage({call})\n")

    ran = newest.run(tmp_path, "-Q")

    assert ran.returncode == 2
    assert "SConstruct:6: cannot use " in ran.stdout
    assert "there is no construction variable NONE; set it, or write $$ for a dollar" in ran.stdout


def test_later_calls_do_not_see_the_variables_of_an_image(tmp_path: Path, scons: Scons) -> None:
    (tmp_path / "SConstruct").write_text(
        HEAD
        + "from scratch_image import HealthCheck\n"
        + 'env.ScratchImage("x", "/bin/true", IMAGE_USER="nonroot", IMAGE_LAYERS="packages",\n'
        + '    IMAGE_HEALTHCHECK=HealthCheck("http://127.0.0.1:80/"))\n'
        + 'print("bound", sorted(name for name in env["BUILDERS"]\n'
        + "    if getattr(env, name).object is not env))\n"
    )

    ran = scons.run(tmp_path, "-n", "-Q")

    assert "bound []" in ran.stdout.splitlines(), ran.stdout
