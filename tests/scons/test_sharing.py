"""Results out of a cache: they are used when, and only when, a step would make the same here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from lab import WITHOUT_NAMESPACES, Lab, Scons
from packages import SUITE, Repository
from scratch_image.fs.capabilities import ATTRIBUTE, attribute

TRACES = ["TRACE first", "TRACE second"]
SHARED = ["LDD", "LIST", *TRACES]
OUTPUTS = [".first.trace", ".first.stdout", ".second.trace", ".ldd", ".files", ".tar", ".oci.tar"]

_LINE = re.compile(r"^(TRACE|LDD|LIST|TEST|CALLS|SBOM) +\S+(?: \((\w+)\))? (.*)$", re.MULTILINE)


class Checkouts:
    """A lab whose results are in a cache, and more checkouts of its project."""

    def __init__(self, directory: Path, scons: Scons) -> None:
        self.lab = Lab(directory / "a", scons).make()
        directory.chmod(0o755)
        self.cache = directory / "cache"
        self.cache.mkdir()
        self.place = directory / "b" / "checkout"
        self.log = directory / "log"

    def build(
        self,
        *arguments: str,
        project: Path | None = None,
        env: Mapping[str, str] | None = None,
        jobs: int = 1,
        prefix: tuple[str, ...] = (),
        scons: Scons | None = None,
        user: str | None = None,
        umask: int = -1,
    ) -> str:
        """Build in `project`, or else in a new checkout; return what was printed."""
        if project is None:
            shutil.rmtree(self.place, ignore_errors=True)
            self.lab.copy_project(self.lab.project, self.place)
            project = self.place
        scons = scons or self.lab.scons
        if not any(each[:1] != "-" for each in arguments):
            arguments = (*arguments, "images/reader")
        ran = subprocess.run(
            [*prefix, *scons.command(), f"-j{jobs}", f"engine={self.lab.engine}", *arguments],
            cwd=project,
            env={
                **os.environ,
                "PYTHONPATH": scons.path,
                "PYTHONDONTWRITEBYTECODE": "1",
                "IMAGE_CACHE": str(self.cache),
                **(env or {}),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            user=user,
            umask=umask,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout
        assert "Traceback" not in ran.stdout, ran.stdout
        return ran.stdout

    def read(self, project: Path | None = None) -> dict[str, bytes]:
        """Return the outputs in `project`, or in the last checkout."""
        return {name: self.lab.out(name, project or self.place).read_bytes() for name in OUTPUTS}


def split(output: str) -> tuple[list[str], list[str]]:
    """Return the steps that ran, and those from the cache, each sorted."""
    ran: list[str] = []
    found: list[str] = []
    for label, run, line in _LINE.findall(output):
        step = f"{label} {run}" if run else label
        (found if ", from the cache, " in line else ran).append(step)
    return sorted(ran), sorted(found)


@pytest.fixture(scope="module")
def filled(newest: Scons, tmp_path_factory: pytest.TempPathFactory) -> Checkouts:
    """Give a lab whose results are in a cache."""
    made = Checkouts(tmp_path_factory.mktemp("sharing").resolve(), newest)
    assert split(made.build(project=made.lab.project)) == (SHARED, [])
    made.lab.save()
    shutil.copytree(made.cache, made.cache.with_name("saved cache"))
    return made


@pytest.fixture
def checkouts(filled: Checkouts) -> Checkouts:
    """Give lab and cache as they were when the cache was filled."""
    filled.lab.restore()
    shutil.rmtree(filled.cache)
    shutil.copytree(filled.cache.with_name("saved cache"), filled.cache)
    return filled


def _sconscript(old: str, new: str) -> Callable[[Checkouts], None]:
    def edit(at: Checkouts) -> None:
        path = at.lab.project / "images/reader/SConscript"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new.format(world=at.lab.world)))

    return edit


def _write(name: str, text: str) -> Callable[[Checkouts], None]:
    return lambda at: at.lab.write(at.lab.world / name, text)


def _list(text: str) -> Callable[[Checkouts], None]:
    def edit(at: Checkouts) -> None:
        at.lab.write(at.lab.project / "images/reader/reader.extra", text.format(at.lab.world))

    return edit


def _relink(at: Checkouts) -> None:
    (at.lab.world / "link").unlink()
    (at.lab.world / "link").symlink_to("same2.txt")


def _edit_plugin(at: Checkouts) -> None:
    with (at.lab.project / "tool/scratch_image/errors.py").open("a") as module:
        module.write("# another version\n")


def _rename_list(at: Checkouts) -> None:
    images = at.lab.project / "images/reader"
    (images / "reader.extra").rename(images / "other.extra")
    _sconscript("reader.extra", "other.extra")(at)


MISSES = [
    pytest.param(lambda at: at.lab.compile_reader("2"), [*TRACES, "LDD"],
                 id="binary that reads the same files"),
    pytest.param(lambda at: at.lab.compile_reader("2", "other.txt"), SHARED,
                 id="binary that reads another file"),
    pytest.param(_list("{0}/extra1.txt\n{0}/extra2.txt\n"), ["LIST"], id="line of the extra list"),
    pytest.param(_list("# comment\n{0}/extra1.txt\n"), ["LIST"], id="comment in the extra list"),
    pytest.param(_rename_list, ["LIST"], id="name of the extra list"),
    pytest.param(_write("same1.txt", "new\n"), TRACES, id="content of a traced file"),
    pytest.param(_write("only-stat.txt", "longer\n"), TRACES, id="size of a file"),
    pytest.param(lambda at: (at.lab.world / "same1.txt").chmod(0o664), [*TRACES, "LIST"],
                 id="mode of a traced file"),
    pytest.param(lambda at: os.chown(at.lab.world / "same1.txt", 7, 8), [*TRACES, "LIST"],
                 id="owner of a traced file",
                 marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")),
    pytest.param(lambda at: os.setxattr(at.lab.world / "reader", ATTRIBUTE, attribute("cap_kill=ep")),
                 ["LIST"], id="capabilities of the program",
                 marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root may give them")),
    pytest.param(_relink, [*TRACES, "LIST"], id="text of a link"),
    pytest.param(_write("maybe", "x"), [*TRACES, "LIST"], id="absent file appears"),
    pytest.param(lambda at: (at.lab.world / "only-stat.txt").unlink(), [*TRACES, "LIST"],
                 id="file vanishes"),
    pytest.param(_write("dir/two", "x"), TRACES, id="listed directory gains an entry"),
    pytest.param(lambda at: (at.lab.world / "dir/one").unlink(), TRACES,
                 id="listed directory loses an entry"),
    pytest.param(lambda at: os.truncate(at.lab.world / "lib2/libgreet.so", 20000), [*TRACES, "LDD"],
                 id="library is replaced"),
    pytest.param(lambda at: at.lab.compile_library("lib1", 0), SHARED,
                 id="library of the same name appears earlier"),
    pytest.param(_sconscript("reader one", "reader uno"), ["TRACE first"], id="argv of a run"),
    pytest.param(_sconscript('name="first"', 'name="first", env={{"A": "1"}}'), ["TRACE first"],
                 id="environment of a run"),
    pytest.param(_sconscript('name="first"', 'name="first", cwd="/usr"'), ["LIST", "TRACE first"],
                 id="directory of a run"),
    pytest.param(_sconscript('name="first"', 'name="early"'), ["LIST", "TRACE early"],
                 id="name of a run"),
    pytest.param(_write("stdin.txt", "new\n"), ["TRACE second"], id="standard input of a run"),
    pytest.param(_sconscript('"reader",\n', '"writer",\n'),
                 ["LDD", "LIST", "TRACE first", "TRACE second"], id="stem of the image"),
    pytest.param(_sconscript("    IMAGE_TAG", "    IMAGE_PRESETS='passwd',\n    IMAGE_TAG"), ["LIST"],
                 id="preset"),
    pytest.param(_sconscript("    IMAGE_TAG", "    IMAGE_ENV={{'A': 'b'}},\n    IMAGE_TAG"), TRACES,
                 id="variable of the image"),
    pytest.param(_sconscript("    IMAGE_TAG", "    SOURCE_DATE_EPOCH=1700000000,\n    IMAGE_TAG"),
                 SHARED, id="epoch"),
    pytest.param(_sconscript('name="first"', 'name="first", network="host"'), ["TRACE first"],
                 id="network of the machine"),
    pytest.param(_edit_plugin, SHARED, id="the plugin itself"),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "expected"), MISSES)
def test_exactly_the_steps_run_that_would_make_something_else(
    checkouts: Checkouts, edit: Callable[[Checkouts], None], expected: list[str]
) -> None:
    edit(checkouts)

    ran, found = split(checkouts.build("--cache-readonly"))

    assert ran == sorted(expected)
    assert len(ran + found) == len(SHARED)


def _touch(at: Checkouts) -> None:
    for path in sorted([*at.lab.world.rglob("*"), *at.lab.project.rglob("*")]):
        if path.is_file() and not path.name.startswith("."):
            os.utime(path)


def _copy_files(at: Checkouts) -> None:
    """Give each file of the world another inode."""
    for path in sorted(at.lab.world.rglob("*")):
        if path.is_file() and not path.is_symlink():
            subprocess.run(["cp", "-p", path, f"{path}.new"], check=True)
            path.with_name(f"{path.name}.new").replace(path)


def _open_project(at: Checkouts) -> None:
    for path in at.lab.project.rglob("*"):
        path.chmod(path.stat().st_mode | 0o020)


def _come_and_go(at: Checkouts) -> None:
    at.lab.write(at.lab.world / "maybe", "x")
    at.build()
    (at.lab.world / "maybe").unlink()


SAME = [
    pytest.param(lambda at: None, {}, id="nothing but another directory"),
    pytest.param(_touch, {}, id="touch of everything"),
    pytest.param(_copy_files, {}, id="other inodes"),
    pytest.param(lambda at: os.link(at.lab.world / "data.txt", at.lab.world / "one more"), {},
                 id="hard link elsewhere"),
    pytest.param(_open_project, {}, id="group may write the project"),
    pytest.param(lambda at: None, {"umask": 0o077}, id="umask"),
    pytest.param(lambda at: None, {"env": {"TZ": "Asia/Tokyo", "LC_ALL": "C", "HOME": "/"}},
                 id="time zone, language and home"),
    pytest.param(lambda at: None, {"jobs": 8}, id="eight jobs"),
    pytest.param(lambda at: None, {"prefix": WITHOUT_NAMESPACES}, id="machine without namespaces"),
    pytest.param(_write("unread", "x"), {}, id="file that no step reads"),
    pytest.param(_write("extra1.txt", "new\n"), {}, id="content of a file that is only listed"),
    pytest.param(_sconscript('"kind": "reader"', '"kind": "writer"'), {}, id="label"),
    pytest.param(_sconscript("env.ScratchImage(\n", "env.ScratchImage(  # here\n\n"), {},
                 id="reformatted SConscript"),
    pytest.param(_come_and_go, {}, id="file that came and went"),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "how"), SAME)
def test_all_steps_come_from_the_cache_where_they_would_make_the_same(
    checkouts: Checkouts, edit: Callable[[Checkouts], None], how: dict[str, Any]
) -> None:
    edit(checkouts)
    known = {**checkouts.read(checkouts.lab.project), ".tar": b"", ".oci.tar": b""}

    output = checkouts.build("--cache-readonly", **how)

    assert split(output) == ([], SHARED), output
    assert {**checkouts.read(), ".tar": b"", ".oci.tar": b""} == known
    assert "up to date" in checkouts.build(project=checkouts.place, **how)


def test_an_older_scons_takes_the_same_results(checkouts: Checkouts, scons: Scons) -> None:
    assert split(checkouts.build("--cache-readonly", scons=scons)) == ([], SHARED)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_takes_the_same_results(checkouts: Checkouts) -> None:
    shutil.rmtree(checkouts.place, ignore_errors=True)
    checkouts.lab.copy_project(checkouts.lab.project, checkouts.place)
    subprocess.run(["chown", "-R", "nobody", checkouts.place.parent], check=True)

    output = checkouts.build(project=checkouts.place, user="nobody")

    assert split(output) == ([], SHARED), output
    assert checkouts.read() == checkouts.read(checkouts.lab.project)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_plain_run_is_for_its_own_user(checkouts: Checkouts) -> None:
    _sconscript("    IMAGE_TAG", "    TRACE_ROOT='plain',\n    IMAGE_TAG")(checkouts)
    # No private run stands in for a plain one.
    assert split(checkouts.build())[0] == ["LIST", *TRACES]
    assert split(checkouts.build()) == ([], SHARED)
    shutil.rmtree(checkouts.place)
    checkouts.lab.copy_project(checkouts.lab.project, checkouts.place)
    subprocess.run(["chown", "-R", "nobody", checkouts.place.parent], check=True)

    output = checkouts.build(project=checkouts.place, user="nobody")

    assert {*TRACES} <= {*split(output)[0]}, output


# The names of SCons's own options


def test_options_of_scons_mean_what_they_mean_for_its_own_cache(checkouts: Checkouts) -> None:
    def state() -> dict[str, int]:
        return {str(each): each.stat().st_ino for each in checkouts.cache.rglob("*")}

    known = state()
    assert split(checkouts.build("--cache-disable")) == (SHARED, [])
    assert "from the cache" not in checkouts.build("-n")
    checkouts.lab.write(checkouts.lab.world / "same1.txt", "options")
    assert split(checkouts.build("--cache-readonly"))[0] == TRACES
    assert split(checkouts.build(env={"IMAGE_CACHE_WRITE": "0"}))[0] == TRACES
    assert state() == known
    assert split(checkouts.build())[0] == TRACES
    assert state() != known
    assert split(checkouts.build()) == ([], SHARED)


def test_the_debug_log_names_what_differs(checkouts: Checkouts) -> None:
    checkouts.lab.write(checkouts.lab.world / "same1.txt", "debug\n")

    output = checkouts.build("--cache-readonly", "--cache-debug=-")

    differs = f"content {checkouts.lab.world}/same1.txt differs"
    assert f"cache: TRACE reader.first (first): {differs}, in the nearest of" in output, output
    assert "cache: LDD reader: found " in output
    checkouts.build("--cache-readonly", f"--cache-debug={checkouts.log}")
    assert f"TRACE reader.first (first): {differs}" in checkouts.log.read_text()


def test_a_null_build_needs_no_cache(checkouts: Checkouts) -> None:
    checkouts.build()
    shutil.move(checkouts.cache, checkouts.cache.with_name("gone"))
    try:
        again = checkouts.build(project=checkouts.place, prefix=("env", "PYTHONVERBOSE=1"))
    finally:
        shutil.move(checkouts.cache.with_name("gone"), checkouts.cache)
    assert "`images/reader' is up to date." in again
    assert "scratch_image.cache" not in again


TERMINAL = (
    sys.executable,
    "-c",
    "import os, pty, sys; os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:]))",
)
"""Words that start a command on a terminal."""


def test_one_line_at_the_end_of_a_terminal_says_what_the_cache_was_good_for(
    checkouts: Checkouts,
) -> None:
    output = checkouts.build("--cache-readonly", prefix=TERMINAL)

    assert re.search(
        r"^cache: 4 of 4 steps, 0\.0 MB in, saved about \d+\.\d s\r?$", output, re.MULTILINE
    )
    assert "cache: " not in checkouts.build("--cache-readonly")
    assert "cache: " not in checkouts.build("-s", "--cache-readonly", prefix=TERMINAL)


def test_an_interactive_build_looks_again(checkouts: Checkouts) -> None:
    shutil.rmtree(checkouts.place, ignore_errors=True)
    checkouts.lab.copy_project(checkouts.lab.project, checkouts.place)
    archive, files = (checkouts.lab.out(name, checkouts.place) for name in (".oci.tar", ".files"))
    command = [*checkouts.lab.scons.command(), "--interactive", "--cache-readonly"]

    with subprocess.Popen(
        [*command, f"engine={checkouts.lab.engine}"],
        cwd=checkouts.place,
        env={**os.environ, "IMAGE_CACHE": str(checkouts.cache)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as scons:
        assert scons.stdin
        assert scons.stdout
        print("build images/reader", file=scons.stdin, flush=True)
        while not archive.exists():
            time.sleep(0.05)
        time.sleep(0.5)
        files.unlink()
        checkouts.lab.write(checkouts.lab.world / "maybe", "interactive")
        print("build images/reader\nexit", file=scons.stdin, flush=True)
        rest = scons.stdout.read()

    ran, found = split(rest.replace("scons>>> ", ""))
    assert {*found} == {*SHARED}, rest
    assert ran == ["LIST", *TRACES], rest
    made = files.read_bytes()
    checkouts.build("--cache-disable")
    assert files.read_bytes() == made
    assert b"/maybe" in made


DERIVED = """
made = env.Command("made", "source", [Copy("$TARGET", "$SOURCE"), Chmod("$TARGET", int(open("source").read(), 8))])
env.ScratchImage("app", "/bin/true", RUNS="true", EXTRA_FILES="app.extra")
"""


def test_a_file_that_is_still_to_be_built_is_not_looked_at(
    checkouts: Checkouts, tmp_path: Path
) -> None:
    place = tmp_path.resolve() / "derived"
    _project(checkouts, place, DERIVED)
    checkouts.lab.write(place / "app.extra", "made -> /srv/made\n")
    lists = {}
    for mode in ("644", "755"):
        checkouts.lab.write(place / "source", mode)
        for name in ("strace", "ldd", "files"):
            (place / f"app.{name}").unlink(missing_ok=True)
        assert "LIST" in split(checkouts.build("app.oci.tar", project=place))[0]
        lists[mode] = (place / "app.files").read_bytes()
    assert lists["644"] != lists["755"]

    # When the run is due, the file of the last build is there, and a new one is due as well.
    checkouts.lab.write(place / "source", "644")
    (place / "app.strace").unlink()
    output = checkouts.build("app.oci.tar", project=place)

    assert split(output) == ([], ["LIST", "TRACE default"]), output
    assert (place / "app.files").read_bytes() == lists["644"]


def _project(at: Checkouts, place: Path, text: str) -> None:
    """Make a project in `place` whose SConstruct declares `text`."""
    sconstruct = (at.lab.project / "SConstruct").read_text()
    at.lab.write(place / "SConstruct", sconstruct.replace('env.ImageTree("images")', text))
    if not (place / "tool").exists():
        shutil.copytree(at.lab.project / "tool", place / "tool")


# Results that hold for one place, or one user, only


BOUND = """
env.ScratchImage("{name}", {{"/usr/bin/app": "app"}}, RUNS="app", TRACE_ROOT="auto")
"""


def _own(at: Checkouts, place: Path, looks: Path) -> str:
    """Build an image of a program that looks for `looks`, in a project at `place`."""
    at.lab.write(
        place / "SConstruct",
        (at.lab.project / "SConstruct")
        .read_text()
        .replace('env.ImageTree("images")', BOUND.format(name="app")),
    )
    if not (place / "tool").exists():
        shutil.copytree(at.lab.project / "tool", place / "tool")
    code = f'int access(const char *, int); int main(void) {{ access("{looks}", 0); return 0; }}'
    subprocess.run(["gcc", "-x", "c", "-", "-o", place / "app"], input=code.encode(), check=True)
    return at.build("app.oci.tar", project=place)


def test_a_result_that_names_the_checkout_is_for_that_place_only(
    checkouts: Checkouts, tmp_path: Path
) -> None:
    places = [(tmp_path / name).resolve() for name in ("one", "two")]
    data = places[0] / "data"

    assert split(_own(checkouts, places[0], data))[1] == []
    # The same program elsewhere looks for a file outside of its project.
    ran, found = split(_own(checkouts, places[1], data))
    assert ran[-1].startswith("TRACE")
    shutil.rmtree(places[0])
    ran, found = split(_own(checkouts, places[0], data))
    assert ran == [] and len(found) == 3
    (places[0] / "data").write_text("x")
    shutil.rmtree(places[0] / "build", ignore_errors=True)


def test_a_program_that_is_used_where_it_was_built_is_bound(
    checkouts: Checkouts, tmp_path: Path
) -> None:
    text = 'env.ScratchImage("app", "app", RUNS="app")'
    for name, shared in (("one", False), ("two", False), ("one", True)):
        place = tmp_path.resolve() / name
        shutil.rmtree(place, ignore_errors=True)
        checkouts.lab.write(
            place / "SConstruct",
            (checkouts.lab.project / "SConstruct")
            .read_text()
            .replace('env.ImageTree("images")', text),
        )
        shutil.copytree(checkouts.lab.project / "tool", place / "tool")
        shutil.copy("/bin/true", place / "app")
        ran, found = split(checkouts.build("app.oci.tar", project=place))
        assert (ran == []) is shared, (name, ran, found)


DEBIAN = """
from scratch_image.sandbox import process
process.SEARCH_PATH = b"{tools}:" + process.SEARCH_PATH  # an mmdebstrap that trusts our packages
debian = env.Sysroot("debian", packages="hello", suite="{suite}", mirror="{mirror}", lock="lock")
env.ScratchImage("sh", "/bin/sh", ROOT=debian, RUNS=["sh -c :"])
"""


def test_a_locked_sysroot_and_its_image_come_from_the_cache(
    checkouts: Checkouts, tmp_path: Path
) -> None:
    repository = Repository(tmp_path.resolve() / "repository")
    text = DEBIAN.format(tools=repository.tools, suite=SUITE, mirror=repository.mirror)
    places = [tmp_path.resolve() / name for name in ("first", "second", "third")]

    def build(place: Path) -> str:
        sconstruct = (checkouts.lab.project / "SConstruct").read_text()
        checkouts.lab.write(
            place / "SConstruct", sconstruct.replace('env.ImageTree("images")', text)
        )
        if not (place / "tool").exists():
            shutil.copytree(checkouts.lab.project / "tool", place / "tool")
        return checkouts.build("sh.oci.tar", project=place)

    first = build(places[0])
    again = build(places[0])
    checkouts.lab.write(places[1] / "lock", (places[0] / "lock").read_text())
    second = build(places[1])
    repository.withdraw("hello", "1.0")
    checkouts.lab.write(places[2] / "lock", (places[0] / "lock").read_text())
    third = build(places[2])

    # The first build wrote the lock. A checkout that has it makes the tar that others get.
    assert "ROOT " in first and "from the cache" not in first
    assert "from the cache" not in again
    for output in (second, third):
        assert split(output)[0] == [], output
    assert re.search("^ROOT .*, from the cache, ", third, re.MULTILINE)
    names = ("sh.files", "sh.tar", "debian.sysroot")
    made = [[(place / name).read_bytes() for name in names] for place in places]
    assert made[0] == made[1] == made[2]
    assert "up to date" in build(places[2])


@pytest.mark.parametrize(("suffix", "is_shared"), [(".tar.gz", True), (".tar.zst", False)])
def test_layers_are_shared_where_it_takes_long_to_pack_them(
    checkouts: Checkouts, suffix: str, is_shared: bool
) -> None:
    _sconscript("    IMAGE_TAG", f"    LAYERTARSUFFIX='{suffix}',\n    IMAGE_TAG")(checkouts)

    def build(*arguments: str) -> tuple[bool, bytes]:
        output = checkouts.build(*arguments)
        found = re.search("^TAR .*, from the cache, ", output, re.MULTILINE)
        return found is not None, checkouts.lab.out(suffix, checkouts.place).read_bytes()

    first, packed = build()
    assert not first
    assert build() == (is_shared, packed)
    checkouts.lab.write(checkouts.lab.world / "extra1.txt", "packed")
    changed, other = build("--cache-readonly")
    assert not changed
    assert other != packed
    assert build("--cache-disable") == (False, other)


def test_requests_come_from_the_cache_as_well(checkouts: Checkouts) -> None:
    words = [f"{word}/images/reader" for word in ("test", "seccomp", "sbom")]
    on_request = ["CALLS", "SBOM", "SBOM", "TEST"]

    def build(*arguments: str) -> tuple[list[str], dict[str, bytes]]:
        ran, found = split(checkouts.build(*words, *arguments))
        assert sorted(ran + found) == sorted(on_request + SHARED)
        names = (".tested", ".seccomp.json", ".spdx.json", ".cdx.json")
        made = {name: checkouts.lab.out(name, checkouts.place).read_bytes() for name in names}
        return ran, made

    ran, first = build()
    assert ran == on_request
    assert build("--cache-readonly") == ([], first)
    # A listed file without a run: only the bills, and the layer in which a run is repeated.
    checkouts.lab.write(checkouts.lab.world / "extra1.txt", "other")
    ran, other = build("--cache-readonly")
    assert ran == on_request
    assert other[".spdx.json"] != first[".spdx.json"]


# Killed builds, and several at once


KILLER = """\
import os, signal
os_replace = os.replace
moments = 0

def replace(source, target):
    global moments
    moments += 1
    if moments == int(ARGUMENTS.get("kill", 0)):
        os.kill(os.getpid(), signal.SIGKILL)
    os_replace(source, target)

os.replace = replace
"""
"""Put before the SConstruct: ends SCons before it renames its nth file."""


@pytest.mark.parametrize("is_filled", [True, False], ids=["restoring", "filling"])
def test_a_killed_build_leaves_nothing_that_is_wrong(
    checkouts: Checkouts, tmp_path: Path, is_filled: bool
) -> None:
    wanted = checkouts.read(checkouts.lab.project)
    sconstruct = checkouts.lab.project / "SConstruct"
    sconstruct.write_text(KILLER + sconstruct.read_text())
    for moment in (2, 9) if is_filled else (6, 13):
        cache = checkouts.cache if is_filled else tmp_path / f"cache{moment}"
        place = tmp_path.resolve() / f"checkout{moment}"
        checkouts.lab.copy_project(checkouts.lab.project, place)
        env = {"IMAGE_CACHE": str(cache)}

        with pytest.raises(AssertionError):
            checkouts.build(f"kill={moment}", project=place, env=env)
        second = checkouts.build(project=place, env=env)

        assert checkouts.read(place) == wanted, (moment, second)
        assert "up to date" in checkouts.build(project=place, env=env)
        assert split(checkouts.build("--cache-readonly", env=env)) == ([], SHARED), moment
        assert checkouts.read() == wanted


def test_several_builds_fill_a_cache_at_once(checkouts: Checkouts, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    places = [tmp_path.resolve() / name for name in ("one", "two", "three")]
    for place in places:
        checkouts.lab.copy_project(checkouts.lab.project, place)

    with ThreadPoolExecutor() as pool:
        env = {"IMAGE_CACHE": str(cache)}
        builds = [pool.submit(checkouts.build, project=place, env=env) for place in places]
        outputs = [each.result() for each in builds]

    assert not any("cannot use cache" in each for each in outputs)
    assert {str(checkouts.read(place)) for place in places} == {
        str(checkouts.read(checkouts.lab.project))
    }
    assert not list(cache.rglob("*.new"))
    assert split(checkouts.build("--cache-readonly", env=env)) == ([], SHARED)
