"""The promise, a row each: an edit rebuilds exactly the steps that it affects."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from lab import NO_ENGINE, Lab, Scons
from rows import OLDEST_AND_NEWEST
from scratch_image.fs.capabilities import ATTRIBUTE, attribute

ALL = ["IMAGE", "LDD", "LIST", "LOAD", "TAR", "TRACE first", "TRACE second"]
TRACES = ["TRACE first", "TRACE second"]
PACK = ["IMAGE", "LOAD", "TAR"]


def _sconscript(old: str, new: str) -> Callable[[Lab], None]:
    def edit(lab: Lab) -> None:
        path = lab.project / "images/reader/SConscript"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new.format(world=lab.world)))

    return edit


def _delete(name: str) -> Callable[[Lab], None]:
    return lambda lab: lab.out(name).unlink()


def _docker(*arguments: str) -> Callable[[Lab], None]:
    def edit(lab: Lab) -> None:
        words = [word.format(tag=lab.tag) for word in arguments]
        subprocess.run(["docker", "-H", lab.engine, *words], check=True, capture_output=True)

    return edit


def _touch(lab: Lab) -> None:
    for path in sorted([*lab.world.rglob("*"), *lab.project.rglob("*")]):
        if path.is_file() and not path.name.startswith("."):
            os.utime(path)


def _relink(lab: Lab) -> None:
    (lab.world / "link").unlink()
    (lab.world / "link").symlink_to("same2.txt")


def _edit_plugin(lab: Lab) -> None:
    with (lab.project / "tool/scratch_image/errors.py").open("a") as module:
        module.write("# another version\n")


ROWS = [
    pytest.param(lambda lab: None, [], id="nothing"),
    pytest.param(_touch, [], id="touch of everything"),
    pytest.param(_sconscript("env.ScratchImage(\n", "env.ScratchImage(  # here\n\n"), [],
                 id="reformatted SConscript"),
    pytest.param(lambda lab: lab.write(lab.world / "unread", "x"), [], id="file that nobody read"),
    pytest.param(lambda lab: lab.compile_reader("2"), [*TRACES, "LDD", *PACK],
                 id="binary that reads the same files"),
    pytest.param(lambda lab: lab.compile_reader("2", "other.txt"), ALL,
                 id="binary that reads another file"),
    pytest.param(lambda lab: lab.write(lab.project / "images/reader/reader.extra",
                                       f"{lab.world}/extra1.txt\n{lab.world}/extra2.txt\n"),
                 ["LIST", *PACK], id="line of the extra list"),
    pytest.param(lambda lab: lab.write(lab.project / "images/reader/reader.extra",
                                       f"# comment\n{lab.world}/extra1.txt\n"),
                 ["LIST"], id="comment in the extra list"),
    pytest.param(lambda lab: lab.write(lab.world / "extra1.txt", "new\n"), PACK,
                 id="content of an extra file"),
    pytest.param(lambda lab: lab.write(lab.world / "same1.txt", "new\n"), [*TRACES, *PACK],
                 id="content of a traced file"),
    pytest.param(lambda lab: lab.write(lab.world / "only-stat.txt", "longer\n"), [*TRACES, *PACK],
                 id="size of a file that was only looked at"),
    pytest.param(lambda lab: (lab.world / "same1.txt").chmod(0o664), [*TRACES, "LIST", *PACK],
                 id="mode of a traced file"),
    pytest.param(lambda lab: os.chown(lab.world / "same1.txt", 7, 8), [*TRACES, "LIST", *PACK],
                 id="owner of a traced file",
                 marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")),
    pytest.param(lambda lab: os.setxattr(lab.world / "reader", ATTRIBUTE, attribute("cap_kill=ep")),
                 ["LIST", *PACK], id="capabilities of the program",
                 marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root may give them")),
    pytest.param(_relink, [*TRACES, "LIST", *PACK], id="target of a link"),
    pytest.param(lambda lab: lab.write(lab.world / "maybe", "x"), [*TRACES, "LIST", *PACK],
                 id="absent file appears"),
    pytest.param(lambda lab: (lab.world / "only-stat.txt").unlink(), [*TRACES, "LIST", *PACK],
                 id="file vanishes"),
    pytest.param(lambda lab: lab.write(lab.world / "dir/two", "x"), TRACES,
                 id="listed directory gains an entry"),
    pytest.param(lambda lab: (lab.world / "dir/one").unlink(), TRACES,
                 id="listed directory loses an entry"),
    pytest.param(lambda lab: os.truncate(lab.world / "lib2/libgreet.so", 20000),
                 [*TRACES, "LDD", *PACK], id="library is replaced"),
    pytest.param(lambda lab: lab.compile_library("lib1", 0), [*TRACES, "LDD", "LIST", *PACK],
                 id="library of the same name appears earlier"),
    pytest.param(_sconscript("reader one", "reader uno"), ["TRACE first"], id="argv of a run"),
    pytest.param(_sconscript('name="first"', 'name="first", env={{"A": "1"}}'), ["TRACE first"],
                 id="environment of a run"),
    pytest.param(lambda lab: lab.write(lab.world / "stdin.txt", "new\n"), ["TRACE second"],
                 id="standard input of a run"),
    pytest.param(_sconscript('"kind"', '"sort"'), ["IMAGE", "LOAD"], id="label"),
    pytest.param(_sconscript("    IMAGE_TAG", "    IMAGE_USER='7',\n    IMAGE_TAG"),
                 ["IMAGE", "LOAD"], id="user"),
    pytest.param(_sconscript("    IMAGE_TAG", "    IMAGE_CMD='{world}/reader',\n    IMAGE_TAG"),
                 ["IMAGE", "LOAD"], id="CMD"),
    pytest.param(_sconscript("    IMAGE_TAG", "    IMAGE_PORTS=8080,\n    IMAGE_TAG"),
                 ["IMAGE", "LOAD"], id="port"),
    pytest.param(_sconscript("    IMAGE_TAG", "    IMAGE_HEALTHCHECK='{world}/reader',\n    IMAGE_TAG"),
                 ["IMAGE", "LOAD"], id="health check"),
    pytest.param(_sconscript("    IMAGE_TAG", "    IMAGE_ANNOTATIONS={{'a.b': 'c'}},\n    IMAGE_TAG"),
                 ["IMAGE", "LOAD"], id="annotation"),
    pytest.param(_docker("rmi", "{tag}"), ["LOAD"], id="docker rmi"),
    pytest.param(_docker("tag", "stranger", "{tag}"), ["LOAD"], id="tag moved to another image"),
    pytest.param(_delete(".first.strace"), ["TRACE first"], id="strace deleted"),
    pytest.param(_delete(".second.trace"), ["TRACE second"], id="record deleted"),
    pytest.param(_delete(".second.stdout"), ["TRACE second"], id="output deleted"),
    pytest.param(_delete(".ldd"), ["LDD"], id="ldd deleted"),
    pytest.param(_delete(".files"), ["LIST"], id="list deleted"),
    pytest.param(_delete(".tar"), ["TAR"], id="tar deleted"),
    pytest.param(_delete(".oci.tar"), ["IMAGE"], id="archive deleted"),
    pytest.param(_delete(".iid"), ["LOAD"], id="image ID deleted"),
    pytest.param(_edit_plugin, ALL, id="the plugin itself"),
]  # fmt: skip


@pytest.fixture(scope="module")
def built(scons: Scons, jobs: int, engine: str, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    tag = f"reader-{scons.version}-j{jobs}:1"
    lab = Lab(tmp_path_factory.mktemp("rebuild"), scons, jobs, engine, tag).make()
    if engine != NO_ENGINE:
        _import_stranger(engine, lab.world)
    assert lab.build().steps == _steps(lab, ALL)
    lab.save()
    return lab


@pytest.fixture
def lab(built: Lab) -> Lab:
    """Give the lab as it was first built: no row needs another one before it."""
    built.restore()
    assert set(built.build().steps) <= {"LOAD"}  # the engine keeps what a row has done to it
    return built


def _steps(lab: Lab, expected: list[str]) -> list[str]:
    """Return the sorted steps, without the last where there is no engine."""
    return sorted(step for step in expected if step != "LOAD" or lab.engine != NO_ENGINE)


def _import_stranger(engine: str, directory: Path) -> None:
    tar = subprocess.run(
        ["tar", "-c", "-C", directory, "data.txt"], check=True, capture_output=True
    )
    subprocess.run(
        ["docker", "-H", engine, "import", "-", "stranger"],
        input=tar.stdout,
        check=True,
        capture_output=True,
    )


# Random edits have each SCons with each number of jobs.
@OLDEST_AND_NEWEST
@pytest.mark.parametrize(("edit", "expected"), ROWS)
def test_edit_rebuilds_exactly_what_it_affects(
    lab: Lab, edit: Callable[[Lab], None], expected: list[str]
) -> None:
    if lab.engine == NO_ENGINE and expected == ["LOAD"]:
        pytest.skip("no engine: dockerd needs root")
    # Eight at a time, and past the seal.
    if lab.jobs > 1:
        lab.seal()

    edit(lab)
    made = lab.build()

    assert made.steps == _steps(lab, expected), made.output
    null = lab.build()
    assert null.steps == [], null.output
    assert "`images/reader' is up to date." in null.output
