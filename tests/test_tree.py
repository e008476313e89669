"""A repository of images: what is read, which aliases there are, every way to ask."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab import NO_ENGINE, PACKAGE, Scons

SCONSTRUCT = """\
DefaultEnvironment(tools=[])
env = Environment(tools=["scratch_image"], toolpath=["{tool}"], DOCKER_HOST="{engine}")
env.ImageTree("images")
"""
SCONSCRIPT = """\
Import("env")
print("reading {name}")
env.ScratchImage("{name}", "/bin/true")
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Make a repository of two images, and a directory that is none."""
    text = SCONSTRUCT.format(tool=PACKAGE.parent, engine=NO_ENGINE)
    (tmp_path / "SConstruct").write_text(text)
    for name in ("one", "two"):
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "images" / name / "SConscript").write_text(SCONSCRIPT.format(name=name))
    (tmp_path / "images/notes").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("directory", "arguments", "built"),
    [
        pytest.param(".", ["images/one"], {"one"}, id="one"),
        pytest.param(".", ["images/one/"], {"one"}, id="with the slash of tab completion"),
        pytest.param(".", ["./images/one"], {"one"}, id="dot"),
        pytest.param(".", ["#images/one"], {"one"}, id="hash"),
        pytest.param(".", ["images"], {"one", "two"}, id="all"),
        pytest.param(".", ["images/"], {"one", "two"}, id="all, with a slash"),
        pytest.param(".", [], {"one", "two"}, id="nothing asked for"),
        pytest.param(".", ["."], {"one", "two"}, id="everything"),
        pytest.param(".", ["build/images/two/two.oci.tar"], {"two"}, id="file"),
        pytest.param("images", ["-u", "one"], {"one"}, id="up, from images"),
        pytest.param("images/two", ["-u", "."], {"two"}, id="up, from the image"),
        pytest.param("images/two", ["-u"], {"two"}, id="up, alone"),
        pytest.param("images/two", ["-D"], {"one", "two"}, id="up, all"),
    ],
)
def test_every_way_to_ask(
    tree: Path, scons: Scons, directory: str, arguments: list[str], built: set[str]
) -> None:
    ran = scons.run(tree / directory, *arguments)

    assert ran.returncode == 0, ran.stdout
    assert {path.parent.name for path in tree.glob("build/images/*/*.oci.tar")} == built
    again = scons.run(tree / directory, *arguments)
    assert "TRACE" not in again.stdout
    assert "is up to date." in again.stdout

    scons.run(tree / directory, "-c", *arguments)
    assert [path for path in tree.glob("build/**/*") if path.is_file()] == []
    assert (tree / "images/one/SConscript").exists()


@pytest.mark.parametrize(
    ("target", "read"),
    [
        pytest.param("images/one", ["one"], id="one image"),
        pytest.param("build/images/two", ["two"], id="build directory"),
        pytest.param("images/none", [], id="none of ours"),
        pytest.param("elsewhere", ["one", "two"], id="any other target may need all"),
    ],
)
def test_only_what_is_asked_for_is_read(
    tree: Path, scons: Scons, target: str, read: list[str]
) -> None:
    ran = scons.run(tree, target)

    found = [line.split()[1] for line in ran.stdout.splitlines() if line.startswith("reading")]
    assert found == read


@pytest.mark.parametrize(
    ("arguments", "tested"),
    [
        pytest.param(["test/images/one"], {"one"}, id="one"),
        pytest.param(["test/images"], {"one", "two"}, id="all"),
        pytest.param(["build/images/two/two.tested"], {"two"}, id="file"),
        pytest.param([], set(), id="nothing asked for"),
        pytest.param(["images"], set(), id="images only"),
    ],
)
def test_images_are_tested_where_that_is_asked_for(
    tree: Path, scons: Scons, arguments: list[str], tested: set[str]
) -> None:
    ran = scons.run(tree, "-j4", *arguments)

    assert ran.returncode == 0, ran.stdout
    assert {path.parent.name for path in tree.glob("build/images/*/*.tested")} == tested
    assert "is up to date." in scons.run(tree, *arguments).stdout


def test_image_is_tested_anew_when_it_changed(tree: Path, scons: Scons) -> None:
    scons.run(tree, "test/images/one")
    (tree / "images/one/one.extra").write_text("/etc/debian_version\n")
    (tree / "images/one/SConscript").write_text(
        'Import("env")\nenv.ScratchImage("one", "/bin/true", EXTRA_FILES="one.extra")\n'
    )

    ran = scons.run(tree, "test/images/one")

    steps = [line.split()[0] for line in ran.stdout.splitlines() if line[:1].isupper()]
    assert steps == ["LIST", "TAR", "TEST"]


def test_image_that_lacks_a_file_does_not_pass(tree: Path, scons: Scons) -> None:
    (tree / "images/one/one.files").write_text("# scratch_image file list 1\n")
    (tree / "images/one/SConscript").write_text(
        'Import("env")\n'
        'trace = env.Strace("x", "/bin/true")\n'
        'env.ImageTest("x", [env.LayerTar("x", "one.files"), trace])\n'
    )

    ran = scons.run(tree, "build/images/one/x.tested")

    assert ran.returncode == 2
    [line] = [line for line in ran.stdout.splitlines() if line.startswith("scons: ***")]
    assert (
        "cannot vouch for image x: in run default it did not find /bin, which the machine has; "
        in line
    )
    assert not (tree / "build/images/one/x.tested").exists()
