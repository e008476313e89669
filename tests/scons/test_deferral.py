"""Steps of an image have no nodes while its seal holds; each look at them, and each change, shows."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import SCons.Environment
import scratch_image
from lab import NO_ENGINE, PACKAGE, Scons
from scratch_image.scons.deferral import ImageCall
from scratch_image.scons.variables import VARIABLES, read
from servers import ping_server
from static import StaticProject


@pytest.fixture
def env() -> Any:
    variables = {"DOCKER_HOST": NO_ENGINE, "WORD": "word"}
    return SCons.Environment.Environment(tools=[scratch_image.generate], **variables)


def _read(env: Any, program: Any = "/bin/true", **variables: Any) -> ImageCall | None:
    return ImageCall.read(env, "/x/hello", program, variables)


def _digest(env: Any, program: Any = "/bin/true", **variables: Any) -> str:
    call = _read(env, program, **variables)
    assert call is not None
    return call.digest


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param({"IMAGE_LABELS": {"a": "$WORD"}}, {"IMAGE_LABELS": {"a": "word"}}, id="text"),
        pytest.param({"IMAGE_PORTS": [80, 81]}, {"IMAGE_PORTS": ["81", "80"]}, id="order"),
        pytest.param({"RUNS": ["true < /x"]}, {"RUNS": ["true < //x"]}, id="path"),
        pytest.param({"IMAGE_CMD": "a b"}, {"IMAGE_CMD": ["a", "b"]}, id="words"),
    ],
)
def test_two_ways_to_say_the_same_have_one_digest(
    env: Any, first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert _digest(env, **first) == _digest(env, **second) != _digest(env)


def test_text_of_one_value_is_that_of_no_other(env: Any) -> None:
    texts = [["a b"], ["a", "b"], ["a, b"], ["'a', 'b'"], ["a\0b"[:1], "b'"]]

    assert len({_digest(env, IMAGE_CMD=words) for words in texts}) == len(texts)


@pytest.mark.parametrize(
    ("change", "program", "variables"),
    [
        pytest.param(lambda env: env, "/bin/true", {"chdir": 1}, id="keyword of SCons"),
        pytest.param(lambda env: env, "/bin/true", {"IMAGE_LAYERS": "x"}, id="mistake"),
        pytest.param(lambda env: env, "/bin/true", {"ROOT": "base.sysroot"}, id="name of a base"),
        pytest.param(lambda env: env, "/usr", {}, id="directory"),
        pytest.param(lambda env: env, {"/x": {}}, {}, id="no file"),
        pytest.param(lambda env: env, ["/bin/true", "/bin/false"], {}, id="two programs"),
        pytest.param(lambda env: env.Override({"A": 1}), "/bin/true", {}, id="environment"),
    ],
)
def test_calls_that_are_not_fully_known(
    env: Any, change: Callable[[Any], Any], program: Any, variables: dict[str, Any]
) -> None:
    assert _read(change(env), program, **variables) is None


def test_environment_is_that_of_the_call(env: Any) -> None:
    call = _read(env, IMAGE_LABELS={"a": "$WORD $$"}, STRACE="own")
    assert call is not None
    env.Replace(IMAGE_USER="1000", WORD="new", TRACE_SPACE=7)

    own = call.environment()

    assert read(own, "IMAGE_LABELS") == {"a": "word $"}
    assert (own["STRACE"], own["TRACE_SPACE"]) == ("own", 1024)
    assert "IMAGE_USER" not in own
    assert env["IMAGE_USER"] == "1000"


SCONSTRUCT = """\
import atexit
import os

DefaultEnvironment(tools=[])
env = Environment(tools=["scratch_image"], toolpath=["tool"], DOCKER_HOST="{engine}", WORD="word")
env["BUILDERS"]["Make"] = Builder(action=Copy("$TARGET", "$SOURCE"))

def is_declared(name):
    nodes = dict.values(env.fs.Dir(f"#build/images/{{name}}").entries)
    return any(hasattr(node.attributes, "step") for node in nodes)

atexit.register(lambda: print("declared:", *filter(is_declared, sorted(os.listdir("images")))))
env.ImageTree("images")
"""
"""Prints at last which images' steps have nodes."""

ONE = """\
Import("env")
made = env.Make("made", "source")
image = env.ScratchImage(
    "one",
    {"/srv/made": made, "/srv/other": "other"},
    RUNS=[],
    IMAGE_ENTRYPOINT="/srv/made",
    IMAGE_LABELS={"word": "$WORD"},
    EXTRA_FILES="one.extra",
)
"""

TWO = """\
Import("env")
image = env.ScratchImage("two", "/bin/true")
"""


PLAIN = """\
Import("env")
values = dict(RUNS=[], IMAGE_TAG="{0}:1")
values.update(dict(NOTHING=1{1}))
env.ScratchImage("{0}", {{"/bin/x": "#program"}}, **values)
"""
"""An image with a name, and with more variables."""


class Project(StaticProject):
    """A project of two images: one of its own program, and one of the machine's."""

    def make(self) -> Project:
        """Write the two images, build them, and seal them."""
        self.write("images/one/other", "other")
        self.write("images/one/one.extra", "listed -> /srv/listed\n")
        self.write("images/one/listed/file", "listed")
        self.compile("images/one/source", "one")
        self.prepare({"one": ONE, "two": TWO})
        assert self.run("images")[1] == []
        return self

    def prepare(self, images: dict[str, str], sconstruct: str = SCONSTRUCT) -> None:
        """Write an SConscript for each of `images`, build these, and seal them."""
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PACKAGE, self.directory / "tool/scratch_image", ignore=ignored)
        self.write("SConstruct", sconstruct.format(engine=NO_ENGINE))
        self.compile("program", "program")
        for name, text in images.items():
            self.write(f"images/{name}/SConscript", text)
        self.build("images")
        self.seal()

    def run(
        self, *words: str, later: bool = False, env: dict[str, str] | None = None
    ) -> tuple[str, list[str]]:
        """Run SCons; return its output, and the images whose steps had nodes."""
        ran = self.scons.run(self.directory, "-Q", *words, later=later, env=env)
        assert "Traceback" not in ran.stdout, ran.stdout
        output, _, names = ran.stdout.rpartition("declared:")
        return output.strip(), names.split("\n")[0].split()

    def build(self, *words: str) -> list[str]:
        """Build; return the sorted steps."""
        ran = self.scons.run(self.directory, "-Q", *words)
        assert ran.returncode == 0, ran.stdout
        return sorted(
            " ".join(found) for found in re.findall(r"^([A-Z]+)  +(\w+)", ran.stdout, re.M)
        )

    def seal(self) -> None:
        """Have a null build seal the images."""
        assert "up to date" in self.run("images", later=True)[0]

    def compare(self, *words: str, env: dict[str, str] | None = None) -> list[str]:
        """Compare a build that sees the seals with one that does not.

        Return the images whose steps had nodes in the first.
        """
        output, names = self.run(*words, env=env)
        seals = list(self.directory.glob("build/images/*/.seal"))
        for path in seals:
            path.rename(path.with_name("hidden"))
        without, _ = self.run(*words, env=env)
        for path in seals:
            path.with_name("hidden").rename(path)
        # In which order SCons names targets depends on how far it walked.
        assert sorted(output.splitlines()) == sorted(without.splitlines())
        return names


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, newest: Scons) -> Project:
    return Project(tmp_path_factory.mktemp("deferral"), newest).make()


@pytest.fixture
def sealed(shared: Project) -> Iterator[Project]:
    """Return the project, whose own files a test may change if it does not build."""
    names = ("SConstruct", "images/one/SConscript", "images/two/SConscript")
    texts = {name: (shared.directory / name).read_text() for name in names}
    yield shared
    for name, text in texts.items():
        shared.write(name, text)


@pytest.fixture
def built(tmp_path: Path, newest: Scons) -> Project:
    return Project(tmp_path, newest).make()


VALUES = {
    "RUNS": '["true x"]',
    "ROOT": 'env.Sysroot("base", directory="#base")',
    "EXTRA_FILES": '"#list"',
    "IMAGE_PRESETS": '"passwd"',
    "IMAGE_LISTED": '"*"',
    "IMAGE_ALLOW": '"/etc/x"',
    "IMAGE_PACKAGES": "False",
    "IMAGE_PLATFORMS": '{"linux/amd64": "/"}',
    "IMAGE_TAG": '"two:2"',
    "IMAGE_ENTRYPOINT": '"/bin/true x"',
    "IMAGE_CMD": '"/bin/true"',
    "IMAGE_ENV": '{"A": "b"}',
    "IMAGE_LABELS": '{"a": "b"}',
    "IMAGE_USER": '"1000"',
    "IMAGE_WORKDIR": '"/srv"',
    "IMAGE_PORTS": "80",
    "IMAGE_VOLUMES": '"/data"',
    "IMAGE_STOP_SIGNAL": '"SIGINT"',
    "IMAGE_HEALTHCHECK": '"/bin/true"',
    "IMAGE_ANNOTATIONS": '{"a.b": "c"}',
    "IMAGE_LAYERS": '"packages"',
    "LAYERTARSUFFIX": '".tar.gz"',
    "SOURCE_DATE_EPOCH": "1",
    "DOCKER_HOST": '"unix:///nonexistent/other"',
    "REGISTRY_INSECURE": '"registry.example:5000"',
    "TRACE_ROOT": '"plain"',
    "TRACE_PROCESSES": "999",
    "TRACE_SPACE": "999",
    "STRACE": '"/usr/bin/strace"',
}
"""Another value of each variable, as an SConscript has it."""


def test_there_is_a_value_for_each_variable() -> None:
    set_by_scratch_image = {"RUN", "IMAGE_STAGED"}
    # Where results are shared decides over no step.
    names = {row.name for row in VARIABLES if not row.name.startswith("IMAGE_CACHE")}
    assert names == {*VALUES, *set_by_scratch_image}


def test_any_variable_of_a_call_declares_the_steps(tmp_path: Path, newest: Scons) -> None:
    project = Project(tmp_path, newest)
    (tmp_path / "base").mkdir()
    project.write("list", "")
    project.prepare({name.lower(): PLAIN.format(name.lower(), "") for name in VALUES})

    assert project.run("images")[1] == []
    for name, value in VALUES.items():
        text = PLAIN.format(name.lower(), f", {name}={value}")
        project.write(f"images/{name.lower()}/SConscript", text)

    assert project.compare("-n", "images") == sorted(map(str.lower, VALUES))


def _extend(line: str) -> Callable[[Project], None]:
    """Return an edit that adds a line before the tree is read."""
    return lambda p: p.edit("SConstruct", "env.ImageTree", f"{line}\nenv.ImageTree")


def _edit(image: str, old: str, new: str) -> Callable[[Project], None]:
    return lambda p: p.edit(f"images/{image}/SConscript", old, new)


@pytest.mark.parametrize(
    ("edit", "declared"),
    [
        pytest.param(lambda p: None, [], id="nothing"),
        pytest.param(_edit("two", '("two", ', '(\n    "two", '), [], id="form of the SConscript"),
        pytest.param(_edit("two", "image", "env['OWN'] = 1\nimage"), [], id="variable of its own"),
        pytest.param(_edit("one", "$WORD", "${WORD}"), [], id="same text by another way"),
        pytest.param(_edit("two", '"/bin/true"', '"/bin/false"'), ["two"], id="program"),
        pytest.param(_edit("two", '"two"', '"new"'), [], id="stem"),
        pytest.param(_edit("two", '"two"', '"new/$WORD"'), [], id="stem with a variable"),
        pytest.param(_edit("one", '"other"', '"source"'), ["one"], id="another file is staged"),
        pytest.param(_edit("one", "/srv/other", "/srv/new"), ["one"], id="staged elsewhere"),
        pytest.param(_edit("one", "$WORD", "$$WORD"), ["one"], id="dollar"),
        pytest.param(_extend('env["WORD"] = "new"'), ["one"], id="variable in a text"),
        pytest.param(_extend('env["IMAGE_USER"] = "1000"'), ["one", "two"],
                     id="variable of all images"),
        pytest.param(_extend("del env['STRACE']"), ["one", "two"], id="no variable"),
        pytest.param(_extend('env["IMAGE_USR"] = "1000"'), [], id="misspelt variable"),
        pytest.param(_extend('Repository("base")'), ["one", "two"], id="repository"),
        pytest.param(_extend('env.Make("build/images/two/two.ldd", "SConstruct")'), ["two"],
                     id="target of another builder"),
        pytest.param(_extend('env.Alias("images/two", "SConstruct")'), ["two"],
                     id="alias of the project"),
        pytest.param(_extend('env = env.Override({"IMAGE_USER": "1000"})'), ["one", "two"],
                     id="environment of an unknown kind"),
        pytest.param(_edit("two", '"/bin/true"', '"/bin/true", chdir=1'), ["two"],
                     id="keyword of SCons"),
        pytest.param(_edit("two", '"/bin/true"', '"/bin/true", IMAGE_LABLES={}'), [],
                     id="misspelt keyword"),
        pytest.param(_edit("one", '"other"}', 'env.Dir("listed")}'), [], id="directory"),
        pytest.param(lambda p: p.add("images/two/SConscript", 'env.ScratchImage("b", "/bin/false")'),
                     ["two"], id="one call more"),
        pytest.param(_edit("two", "image = env.S", "image = []\nif 0: env.S"), [], id="no call"),
    ],
)  # fmt: skip
def test_build_is_as_without_a_seal(
    sealed: Project, edit: Callable[[Project], None], declared: list[str]
) -> None:
    (sealed.directory / "base").mkdir(exist_ok=True)
    edit(sealed)

    names = sealed.compare("-n", "images")

    assert [name for name in names if name in declared] == declared


@pytest.mark.parametrize(
    ("words", "declared"),
    [
        pytest.param(["images"], [], id="all"),
        pytest.param(["images/one", "images/two"], [], id="two of them"),
        pytest.param(["images/one", "./images/two"], ["two"], id="one by its directory"),
        pytest.param(["-q", "images"], [], id="question"),
        pytest.param(["--debug=explain", "images"], [], id="explain"),
        pytest.param(["images/"], [], id="directory"),
        pytest.param([], ["one", "two"], id="no target"),
        pytest.param(["images", "."], ["one", "two"], id="all files"),
        pytest.param(["images", "build/images/one/one.tar"], ["one", "two"], id="file"),
        pytest.param(["images", "help/images/one"], ["one", "two"], id="help"),
        pytest.param(["test/images/one", "-n"], ["one"], id="test"),
        pytest.param(["--tree=all", "images/one"], ["one"], id="tree"),
    ],
)
def test_only_images_alone_can_wait(sealed: Project, words: list[str], declared: list[str]) -> None:
    assert sealed.compare(*words) == declared


def test_two_trees_wait_together(built: Project) -> None:
    built.write("tools/three/SConscript", PLAIN.format("three", ', EXTRA_FILES="three.extra"'))
    built.write("tools/three/three.extra", "../../build/images/one/one.tar -> /one.tar\n")
    built.add("SConstruct", 'env.ImageTree("tools")')
    built.build("images", "tools")
    built.run("images", "tools", later=True)

    assert built.compare("images", "tools") == ["one"]
    built.write("tools/three/three.extra", "")
    built.build("images", "tools")
    built.run("images", "tools", later=True)
    for words in (["images", "tools"], ["tools/three", "images/two"], ["tools"]):
        assert built.compare(*words) == []
    assert built.compare("-n", "images", "test/tools") == ["one", "two"]
    built.write("images/one/other", "OTHER")
    assert built.build("images", "tools") == ["IMAGE one", "TAR one"]


def test_directory_that_looks_like_a_tree_has_a_file_on_request(built: Project) -> None:
    built.write("out/SConscript", "")
    built.edit("SConstruct", '"scratch_image"]', '"scratch_image", "install"]')
    built.add("SConstruct", 'env.Install("out", "build/images/one/one.report.html")')

    assert built.compare("-n", "out") == ["one"]
    assert "PAGE one" in built.build("out")


PAGE = "from scratch_image import HealthCheck\n" + PLAIN.format(
    "page", ', IMAGE_HEALTHCHECK=HealthCheck("http://127.0.0.1:80/")'
)


def test_image_with_a_page_waits_for_its_compiler(tmp_path: Path, newest: Scons) -> None:
    project = Project(tmp_path, newest)
    compiler = tmp_path / "own-cc"
    compiler.symlink_to("/usr/bin/gcc")
    text = SCONSTRUCT.replace('WORD="word"', f'WORD="word", CC="{compiler}"')
    project.prepare({"page": PAGE}, text)

    assert project.run("images")[1] == []
    for edit in ('CC="cc"', 'CC="gcc -g"'):
        project.write("images/page/SConscript", PAGE.replace("NOTHING=1", edit))
        assert project.compare("-n", "images") == ["page"]
    project.write("images/page/SConscript", f"{PAGE}env['CC'] = 'none'\n")
    assert project.run("images")[1] == []
    compiler.unlink()
    compiler.write_text('#!/bin/sh\nexec gcc "$@"\n')
    compiler.chmod(0o755)
    assert project.build("images") == ["CHECK page"]


def test_environment_of_the_process_counts(sealed: Project) -> None:
    assert sealed.compare("-n", "images", env={"SOURCE_DATE_EPOCH": "1"}) == ["one", "two"]


def test_engine_that_answers_now_declares_the_steps(built: Project) -> None:
    socket = built.directory / "socket"
    built.edit("SConstruct", NO_ENGINE, f"unix://{socket}")
    built.build("images")
    built.seal()

    with ping_server(socket):
        output, names = built.run("-n", "images")

    assert "LOAD" in output
    assert names == ["one", "two"]


@pytest.mark.parametrize("name", ["scons/deferral.py", "image/config.py"])
def test_other_code_declares_the_steps(built: Project, name: str) -> None:
    built.add(f"tool/scratch_image/{name}", "# More.")

    assert built.compare("-n", "images") == ["one", "two"]


def test_tool_that_was_replaced_declares_the_steps(built: Project) -> None:
    strace = built.directory / "own-strace"
    strace.symlink_to("/usr/bin/strace")
    built.edit("SConstruct", 'WORD="word"', f'WORD="word", STRACE="{strace}"')
    built.build("images")
    built.seal()
    strace.unlink()
    strace.write_text('#!/bin/sh\nexec strace "$@"\n')
    strace.chmod(0o755)

    assert built.compare("-n", "images") == ["two"]


USES = {
    "install": ('env.Install("#out", image)', "out/install.oci.tar"),
    "index": ('env.Make("#out/index", image[-1])', "out/index"),
    "name": ('env.Make("#out/name", "name.oci.tar")', "out/name"),
    "glob": ('env.Install("#out", Glob("glob.oci.*"))', "out/glob.oci.tar"),
    "depends": (
        'env.Depends(env.Command("#out/depends", [], "cp build/images/depends/depends.oci.tar $TARGET"), image)',
        "out/depends",
    ),
    "directory": (
        'env.Command("#out/directory", Dir("."), "cp $SOURCE/directory.oci.tar $TARGET")',
        "out/directory",
    ),
}
"""Images with a line that uses each, and with the copy of its archive that this makes."""

USED = """\
Import("env")
made = env.Make("made", "#program")
image = env.ScratchImage("{0}", {{"/srv/made": made, "/srv/other": "#other"}}, RUNS=[])
env.Alias("images", {1})
"""


def test_steps_that_other_builders_use(tmp_path: Path, newest: Scons) -> None:
    project = Project(tmp_path, newest)
    project.write("other", "other")
    text = SCONSTRUCT.replace('"scratch_image"', '"scratch_image", "install"')
    project.prepare({name: USED.format(name, line) for name, (line, _) in USES.items()}, text)

    for program in (False, True):
        if program:
            project.compile("program", "two")
        else:
            project.write("other", "OTHER")
        project.build("images")
        for name, (_, copy) in USES.items():
            archive = f"build/images/{name}/{name}.oci.tar"
            assert (tmp_path / copy).read_bytes() == (tmp_path / archive).read_bytes(), name
        assert "up to date" in project.run("images", later=True)[0]
        assert "up to date" in project.run("images")[0]


@pytest.mark.parametrize("place", ["before", "after"])
def test_step_file_is_named_outside_of_the_tree(built: Project, place: str) -> None:
    lines = ['made = env.Make("out/one", "build/images/one/one.tar")', 'env.ImageTree("images")']
    built.edit("SConstruct", lines[1], "\n".join(lines if place == "before" else lines[::-1]))
    built.add("SConstruct", 'env.Depends(env.Alias("images"), made)')
    built.build("images")
    assert built.run("images")[1] == ["one"]
    built.write("images/one/other", "OTHER")

    built.build("images")

    made = (built.directory / "build/images/one/one.tar").read_bytes()
    assert (built.directory / "out/one").read_bytes() == made


def test_image_holds_a_step_file_of_another(built: Project) -> None:
    built.write("images/three/three.extra", "../../build/images/one/one.tar -> /one.tar\n")
    built.write(
        "images/three/SConscript",
        'Import("env")\nenv.ScratchImage("three", "/bin/true", RUNS=[], EXTRA_FILES="three.extra")\n',
    )
    built.build("images")
    assert "up to date" in built.run("images", later=True)[0]
    assert built.run("images")[1] == ["one"]

    for program in (False, True):
        name = "images/one/source" if program else "images/one/one.extra"
        built.compile(name, "two") if program else built.write(name, "")
        steps = built.build("images")
        assert {"TAR one", "TAR three", "IMAGE three"} <= {*steps}
        assert "up to date" in built.run("images")[0]


def test_call_means_its_own_environment_when_it_is_declared_late(built: Project) -> None:
    change = (
        'env["IMAGE_USER"] = "1000"\nenv["IMAGE_CMD"] = ["/bin/true"]\nenv["WORD"] = "new"\n'
        'env["IMAGE_TAG"] = "two"\ndel env["TRACE_ROOT"]\n'
    )
    built.edit("images/two/SConscript", "image =", f"{change}image =")
    built.build("images")
    built.seal()
    built.write("images/one/other", "OTHER")

    assert built.build("images") == ["IMAGE one", "TAR one"]
    assert "up to date" in built.run("images", later=True)[0]
    built.seal()


def test_tag_is_shared_with_an_image_that_waits(sealed: Project) -> None:
    sealed.edit("images/two/SConscript", '"/bin/true"', '"/bin/true", IMAGE_TAG="one"')

    assert sealed.compare("images") == ["two"]

    output, _ = sealed.run("images")
    assert "cannot tag image one:latest: build/images/one/one.oci.tar (" in output


def test_seal_of_another_form_is_none(built: Project) -> None:
    seal = built.directory / "build/images/two/.seal"
    text = seal.read_text()
    for damaged in (
        '"tags": 1',
        text.replace("two.tar", "two.tar/x"),
        text.replace("latest", "//"),
    ):
        seal.write_text(damaged)
        assert built.build("images") == []


def test_archives_that_no_engine_has_are_named(sealed: Project) -> None:
    line = f"no engine answers at {NO_ENGINE}: docker load -i build/images/one/one.oci.tar"

    assert sealed.run("images")[0].splitlines()[-1] == f"{line} for one of 2 images"
    assert sealed.run("images/one")[0].splitlines()[-1] == line


def test_two_images_of_one_sconscript_wait_together(built: Project) -> None:
    more = 'env.ScratchImage("more", "/bin/true", RUNS=[], IMAGE_LABELS={"a": "b"})'
    built.add("images/two/SConscript", more)
    built.build("images")
    built.seal()

    built.edit("images/two/SConscript", '"a": "b"', '"a": "c"')

    assert built.compare("-n", "images") == ["two"]
    assert built.build("images") == ["IMAGE more"]


def test_value_of_a_tree_is_all_nodes(built: Project) -> None:
    built.edit("SConstruct", "env.ImageTree(", "found = env.ImageTree(")
    built.add("SConstruct", 'print(len(found), found[0], *map(str, found[-1:] + ["x"]))')

    output, names = built.run("images")

    assert names == ["one", "two"]
    assert re.match(r"\d+ build/images/one/one.ldd build/images/two/two.oci.tar x\n", output)
