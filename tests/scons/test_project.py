"""A project: what belongs to which of its trees, and to images that are in none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from lab import NO_ENGINE, PACKAGE, Scons

HEAD = f"""\
DefaultEnvironment(tools=[])
env = Environment(tools=["scratch_image"], toolpath=["{PACKAGE.parent}"], DOCKER_HOST="{NO_ENGINE}")
"""

SCONSCRIPT = """\
Import("env")
env.ScratchImage("{0}", "/bin/true", IMAGE_TAG="127.0.0.1:1/{0}:1")
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Make a project of two trees, with two environments, and an image of the SConstruct."""
    (tmp_path / "SConstruct").write_text(
        f'{HEAD}env.ImageTree("images")\nenv.ScratchImage("build/plain", "/bin/true")\n'
        'other = env.Clone(IMAGE_TAG="127.0.0.1:1/plain:2")\n'
        'other.ScratchImage("build/$NAME", "/bin/true", NAME="pushed")\nother.ImageTree("tools")\n'
    )
    for name in ("images/one", "tools/two", "tools/three"):
        (tmp_path / name).mkdir(parents=True)
        text = SCONSCRIPT.format(name.partition("/")[2])
        (tmp_path / name / "SConscript").write_text(text)
    return tmp_path


WORDS = {"push": "pushed", "report": "report.html", "test": "tested", "seccomp": "seccomp.json",
         "sbom": "spdx.json"}  # fmt: skip


def _made(output: str, suffix: str) -> set[str]:
    """Return the stems of files that `scons -n --tree=prune` shows, by the end of their names."""
    words = output.replace("+-", " ").split()
    return {word.removesuffix(f".{suffix}") for word in words if word.endswith(f".{suffix}")}


@pytest.mark.parametrize(("word", "suffix"), WORDS.items())
def test_a_tree_means_its_own_images_alone(
    project: Path, scons: Scons, word: str, suffix: str
) -> None:
    asked = {
        "images": {"build/images/one/one"},
        "tools": {"build/tools/two/two", "build/tools/three/three"},
        "tools/two": {"build/tools/two/two"},
        "build/pushed": {"build/pushed"},
        "build/plain": {"build/plain"},
        "build/tools/two/two": {"build/tools/two/two"},
    }
    commands = "".join(f"build -n --tree=all {word}/{place}\n" for place in asked)

    told = scons.run(project, "-Q", "--interactive", commands=commands).stdout
    once = scons.run(project, "-Q", "-n", "--tree=all", f"{word}/tools").stdout

    parts = told.split("scons>>>")[1:]
    assert [_made(part, suffix) for part in parts[: len(asked)]] == [*asked.values()], told
    assert _made(once, suffix) == asked["tools"]


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        pytest.param(["test/build/plain"], ["TEST   plain"], id="test"),
        pytest.param(["why/build/plain", "WHY=/bin/true"], ["WHY    plain"], id="why"),
        pytest.param(["help/build/plain"], ["Targets of build/plain:", "  test/build/plain "],
                     id="help"),
        pytest.param(["ours"], ["SBOM   plain"], id="in an alias of the project"),
        pytest.param(["test/one"], ["echo own"], id="the project's file counts"),
    ],
)  # fmt: skip
def test_aliases_come_with_every_image(
    tmp_path: Path, scons: Scons, targets: Sequence[str], told: list[str]
) -> None:
    (tmp_path / "test").mkdir()
    (tmp_path / "SConstruct").write_text(
        f'{HEAD}env.ScratchImage("build/plain", "/bin/true")\n'
        'env.ScratchImage("one", "/bin/true", IMAGE_TAG="a:1")\n'
        'env.Alias("ours", "sbom/build/plain")\n'
        'env.Command("test/one", [], "echo own")\n'
    )

    ran = scons.run(tmp_path, "-Q", *targets)

    assert ran.returncode == 0, ran.stdout
    for line in told:
        assert line in ran.stdout
    assert "one  " not in ran.stdout


def _unloaded(output: str) -> list[str]:
    head = f"no engine answers at {NO_ENGINE}: docker load -i "
    return [line.removeprefix(head) for line in output.splitlines() if line.startswith(head)]


def test_null_build_without_an_engine_says_that_nothing_is_loaded(
    project: Path, scons: Scons
) -> None:
    plain = ["build/plain.oci.tar"]
    two = ["build/tools/two/two.oci.tar"]
    three = ["build/tools/three/three.oci.tar"]
    assert _unloaded(scons.run(project, "build/plain.oci.tar", "tools").stdout) == [
        *plain, *three, *two
    ]  # fmt: skip

    assert _unloaded(scons.run(project, "build/plain.oci.tar").stdout) == plain
    assert _unloaded(scons.run(project, "tools/two").stdout) == two
    assert _unloaded(scons.run(project, "tools", later=True).stdout) == [
        f"{three[0]} for one of 2 images"
    ]
    sealed = scons.run(project, "tools", later=True)
    assert _unloaded(sealed.stdout) == [f"{three[0]} for one of 2 images"]
    for quiet in (["-n", "tools"], ["-q", "tools"], ["-s", "tools"], ["sbom/tools/two"],
                  ["build/plain.files"], ["-c", "tools"]):  # fmt: skip
        assert _unloaded(scons.run(project, *quiet).stdout) == []
