"""A repository of images: what is read, which aliases there are, every way to ask."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab import NO_ENGINE, PACKAGE, Scons
from registries import BASIC, PASSWORD, Gate, docker_registry, gate
from scratch_image.image.archive import layout, read
from scratch_image.publish import registry
from scratch_image.publish.registry import Tag

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


@pytest.mark.parametrize(
    ("arguments", "billed"),
    [
        pytest.param(["sbom/images/one"], {"one.spdx.json", "one.cdx.json"}, id="one"),
        pytest.param(["build/images/two/two.cdx.json"], {"two.cdx.json"}, id="file"),
        pytest.param(["."], set(), id="nothing asked for"),
        pytest.param(["images"], set(), id="images only"),
    ],
)
def test_bills_are_written_where_that_is_asked_for(
    tree: Path, scons: Scons, arguments: list[str], billed: set[str]
) -> None:
    ran = scons.run(tree, "-j4", *arguments)

    assert ran.returncode == 0, ran.stdout
    assert {path.name for path in tree.glob("build/images/*/[a-z]*.json")} == billed
    assert "is up to date." in scons.run(tree, *arguments).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["images/one"], set(), id="image"),
        pytest.param(["images", "images/two"], set(), id="all images"),
        pytest.param(["test/images/one"], {"test"}, id="test"),
        pytest.param(["sbom/images", "images"], {"sbom"}, id="bills"),
        pytest.param(
            ["build/images/one/one.tar"],
            {"debug", "push", "report", "sbom", "seccomp", "test"},
            id="file",
        ),
        pytest.param(
            ["release"],
            {"debug", "push", "report", "sbom", "seccomp", "test"},
            id="what may need all",
        ),
        pytest.param(
            [], {"debug", "push", "report", "sbom", "seccomp", "test"}, id="nothing asked for"
        ),
    ],
)
def test_what_is_made_on_request_is_declared_where_it_may_be_asked_for(
    tree: Path, newest: Scons, arguments: list[str], words: set[str]
) -> None:
    with (tree / "SConstruct").open("a") as sconstruct:
        sconstruct.write(
            'env.Alias("release", "images")\nfrom scratch_image.scons.project import Project\n'
        )
        sconstruct.write("images = Project.of(env).images\n")
        sconstruct.write(
            'print("declared", *sorted({word for i in images for word in i.requested}))\n'
        )

    ran = newest.run(tree, "-n", *arguments)

    [line] = [line for line in ran.stdout.splitlines() if line.startswith("declared")]
    assert set(line.split()[1:]) == words


def test_image_is_tested_anew_when_it_changed(tree: Path, scons: Scons) -> None:
    scons.run(tree, "test/images/one")
    (tree / "images/one/one.extra").write_text("/etc/issue\n")
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
        "cannot accept image x: run default failed its test: it did not find /bin, which the machine has; "
        in line
    )
    assert not (tree / "build/images/one/x.tested").exists()


# Pushing

PUSHED = """\
Import("env")
env.ScratchImage("one", "/bin/true", IMAGE_TAG={tags}, **{variables})
"""


@pytest.fixture
def before(hub: str) -> Iterator[Gate]:
    """Give a gate before a registry."""
    with gate(hub) as made:
        yield made


def _tag(tree: Path, *tags: str, **variables: object) -> None:
    text = PUSHED.format(tags=list(tags), variables=variables)
    (tree / "images/one/SConscript").write_text(text)


def _steps(output: str) -> list[str]:
    return [line.split()[0] for line in output.splitlines() if line[:1].isupper()]


def test_image_is_pushed_where_that_is_asked_for(tree: Path, scons: Scons, before: Gate) -> None:
    tag = f"{before.host}/{scons.version}/one:1.2"
    _tag(tree, "one", tag)

    assert "PUSH" not in _steps(scons.run(tree).stdout)
    assert "PUSH" not in _steps(scons.run(tree, ".").stdout)
    assert before.log == []
    ran = scons.run(tree, "push/images/one")
    all_of_them = scons.run(tree, "push/images")

    digest = read(os.fsencode(tree / "build/images/one/one.oci.tar")).manifest
    [line] = [line for line in ran.stdout.splitlines() if line.startswith("PUSH")]
    assert line.startswith(f"PUSH   {'one':18}  {tag} {digest.short}, sent ")
    assert (tree / "build/images/one/one.pushed").read_text() == f"{tag}@{digest}\n"
    assert registry.digest_of(Tag.parse(f"http://{tag}")) == digest
    # The other one has no tag that could be pushed.
    assert "`push/images' is up to date." in all_of_them.stdout


def test_image_that_is_pulled_back_runs(tree: Path, newest: Scons, hub: str, engine: str) -> None:
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    tag = f"{hub}/back/one:1.2"
    _tag(tree, tag)
    newest.run(tree, "push/images/one")
    docker = ["docker", "-H", engine]

    subprocess.run([*docker, "pull", "-q", tag], check=True, capture_output=True)
    subprocess.run([*docker, "run", "--rm", "--network=none", tag], check=True)
    form = '--format={{join .RepoDigests ","}}'
    found = subprocess.run([*docker, "inspect", form, tag], check=True, stdout=subprocess.PIPE)

    digest = read(os.fsencode(tree / "build/images/one/one.oci.tar")).manifest
    assert found.stdout.decode().strip() == f"{hub}/back/one@{digest}"


def test_image_whose_tags_name_no_registry_cannot_be_pushed(tree: Path, scons: Scons) -> None:
    ran = scons.run(tree, "push/images/one")

    assert ran.returncode == 2
    assert "cannot push one: none of its tags names a registry; write HOST/NAME:TAG\n" in ran.stdout


def test_null_build_asks_for_each_tag_once(tree: Path, scons: Scons, before: Gate) -> None:
    place = f"{before.host}/null/{scons.version}"
    _tag(tree, f"{place}/one:1", f"{place}/other:2")
    scons.run(tree, "push/images/one")
    before.log.clear()

    ran = scons.run(tree, "push/images/one")

    assert "`push/images/one' is up to date." in ran.stdout
    assert [(verb, status) for verb, _, status, _ in before.log] == [("HEAD", 200)] * 2


def _delete(tree: Path, before: Gate, tag: str) -> None:
    found = Tag.parse(f"http://{tag}")
    connection = http.client.HTTPConnection(before.registry)
    connection.request("DELETE", f"/v2/{found.path}/manifests/{registry.digest_of(found)}")
    assert connection.getresponse().status == 202
    connection.close()


def _move(tree: Path, before: Gate, tag: str) -> None:
    found = Tag.parse(f"http://{tag}")
    place = registry.Repository(found.origin, found.path)
    image = read(os.fsencode(tree / "build/images/one/one.oci.tar"))
    [document] = layout(image.path).documents
    place.put_manifest(found.name, document.media_type, document.data + b"\n")


@pytest.mark.parametrize(
    ("edit", "steps"),
    [
        pytest.param(_delete, ["PUSH"], id="tag deleted"),
        pytest.param(_move, ["PUSH"], id="tag moved"),
        pytest.param(
            lambda tree, before, tag: (tree / "build/images/one/one.pushed").unlink(),
            ["PUSH"],
            id="target deleted",
        ),
        pytest.param(
            lambda tree, before, tag: _tag(tree, tag, IMAGE_LABELS={"a": "b"}),
            ["IMAGE", "PUSH"],
            id="label",
        ),
        pytest.param(
            lambda tree, before, tag: _tag(tree, tag, f"{tag}.3"), ["IMAGE", "PUSH"], id="tag more"
        ),
        pytest.param(
            lambda tree, before, tag: _tag(tree, tag, RUNS=["true x"]), ["TRACE"], id="run"
        ),
    ],
)
def test_what_is_pushed_again(
    tree: Path, newest: Scons, before: Gate, edit: Callable[..., None], steps: list[str]
) -> None:
    tag = f"{before.host}/again:1.2"
    _tag(tree, tag)
    newest.run(tree, "push/images/one")

    edit(tree, before, tag)
    ran = newest.run(tree, "push/images/one")
    again = newest.run(tree, "push/images/one")

    assert [step for step in _steps(ran.stdout) if step != "no"] == steps, ran.stdout
    assert "is up to date." in again.stdout
    digest = read(os.fsencode(tree / "build/images/one/one.oci.tar")).manifest
    assert registry.digest_of(Tag.parse(f"http://{tag}")) == digest


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param([["-j4", "push/images"]], id="at once"),
        pytest.param([["push/images/one"], ["push/images/two"]], id="one by one"),
    ],
)
def test_images_mount_what_they_share(
    tree: Path, newest: Scons, before: Gate, calls: list[list[str]]
) -> None:
    # A layer that no other test has pushed.
    (tree / "extra").write_text(f"mine.{len(calls)} -> /mine.{len(calls)}\n")
    (tree / f"mine.{len(calls)}").write_text("mine")
    for name in ("one", "two"):
        text = PUSHED.replace('"one"', f'"{name}"').format(
            tags=[f"{before.host}/shared/{len(calls)}/{name}"],
            variables={
                "IMAGE_LABELS": {"name": name, "calls": str(len(calls))},
                "EXTRA_FILES": "#extra",
            },
        )
        (tree / f"images/{name}/SConscript").write_text(text)

    output = "".join(newest.run(tree, *call).stdout for call in calls)

    assert _steps(output).count("PUSH") == 2, output
    assert before.count("PUT", "/blobs/uploads/") == 3  # the layer once, two configs


def test_registry_that_is_gone_is_a_line(tree: Path, newest: Scons) -> None:
    _tag(tree, "127.0.0.1:1/one")

    ran = newest.run(tree, "push/images/one")

    assert ran.returncode == 2
    assert "cannot reach registry 127.0.0.1:1: Connection refused; see that it runs" in ran.stdout
    assert "Traceback" not in ran.stdout


def test_index_is_pushed_with_its_images(tree: Path, newest: Scons, before: Gate) -> None:
    tag = f"{before.host}/several:1"
    _tag(tree, tag, IMAGE_PLATFORMS={"linux/amd64": "/"})

    ran = newest.run(tree, "push/images/one")

    assert _steps(ran.stdout).count("PUSH") == 1, ran.stdout
    digest = layout(os.fsencode(tree / "build/images/one/one.index.oci.tar")).documents[-1].digest
    assert registry.digest_of(Tag.parse(f"http://{tag}")) == digest
    assert registry.digest_of(Tag.parse(f"http://{tag}-amd64")) is None


@pytest.mark.parametrize("tokens", [False, True], ids=["password", "token"])
def test_no_secret_is_left_anywhere(
    tree: Path, newest: Scons, tmp_path: Path, tokens: bool
) -> None:
    config = tmp_path / "config"
    config.mkdir()
    with docker_registry(tmp_path / "registry", auth=not tokens) as host, gate(host) as before:
        before.tokens = tokens
        entry = {"auth": BASIC.partition(" ")[2]}
        (config / "config.json").write_text(json.dumps({"auths": {before.host: entry}}))
        _tag(tree, f"{before.host}/secret")
        env = {"DOCKER_CONFIG": str(config)}
        ran = [
            newest.run(tree, "push/images/one", env=env),
            newest.run(tree, "--debug=explain", "push/images/one", env=env),
            newest.run(tree, "--debug=explain", "push/images/one", env={"DOCKER_CONFIG": "/none"}),
        ]
        shown = {word.partition(" ")[2] for word in before.seen if word}

    assert [each.returncode for each in ran] == [0, 0, 2]
    assert "it answers 401" in ran[2].stdout
    secrets = [word.encode() for word in {*shown, PASSWORD}]
    assert len(secrets) >= 2
    files = [path for path in tree.rglob("*") if path.is_file() and config not in path.parents]
    left = [path.read_bytes() for path in files if "registry" not in path.parts]
    left += [each.stdout.encode() for each in ran]
    assert [secret for secret in secrets for text in left if secret in text] == []


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        pytest.param(["report/images/one"], {"one"}, id="one"),
        pytest.param(["report/images"], {"one", "two"}, id="all"),
        pytest.param(["build/images/two/two.report.html"], {"two"}, id="file"),
        pytest.param([], set(), id="nothing asked for"),
        pytest.param(["images", "build/images/one"], set(), id="images only"),
    ],
)
def test_images_are_reported_on_where_that_is_asked_for(
    tree: Path, newest: Scons, arguments: list[str], reported: set[str]
) -> None:
    ran = newest.run(tree, "-j4", *arguments)

    assert ran.returncode == 0, ran.stdout
    assert {path.parent.name for path in tree.glob("build/images/*/*.report.html")} == reported
    assert "is up to date." in newest.run(tree, *arguments).stdout


def test_report_is_made_again_when_a_setting_of_the_image_changes(tree: Path, scons: Scons) -> None:
    image, page = tree / "images/one/SConscript", tree / "build/images/one/one.report.html"
    text = 'Import("env")\nenv.ScratchImage("one", "/bin/true", IMAGE_LABELS={"n": "%s"})\n'
    image.write_text(text % "first")
    scons.run(tree, "report/images/one")
    assert '"Labels":["n=first"]' in page.read_text()
    image.write_text(text % "second")

    ran = scons.run(tree, "-Q", "report/images/one")

    assert _steps(ran.stdout) == ["IMAGE", "PAGE"]
    changed = '"settings":[{"name":"Labels","before":["n=first"],"after":["n=second"]}],"paths":[]'
    assert changed in page.read_text()
    assert scons.run(tree, "-Q", "report/images/one").stdout.endswith("is up to date.\n")


def test_report_is_made_again_when_a_file_list_changes(tree: Path, scons: Scons) -> None:
    extra, page = tree / "images/one/one.extra", tree / "build/images/one/one.report.html"
    (tree / "images/one/SConscript").write_text(
        'Import("env")\nenv.ScratchImage("one", "/bin/true", EXTRA_FILES="one.extra")\n'
    )
    extra.write_text("/etc/issue\n")
    scons.run(tree, "report/images/one")
    assert '"changes":null' in page.read_text()
    extra.write_text("")

    ran = scons.run(tree, "-Q", "report/images/one")

    assert _steps(ran.stdout) == ["LIST", "TAR", "IMAGE", "PAGE"]
    assert '{"path":"/etc/issue","what":"removed"' in page.read_text()
    assert scons.run(tree, "-Q", "report/images/one").stdout.endswith("is up to date.\n")
    scons.run(tree, "-c", "report/images/one")
    assert not page.exists()


def test_cleaning_takes_along_what_was_asked_for(tree: Path, scons: Scons) -> None:
    assert scons.run(tree, "report/images", "test/images/one", "sbom/images/two").returncode == 0
    assert len([*tree.glob("build/images/*/*.report.html")]) == 2

    scons.run(tree, "-c")

    assert [path for path in tree.glob("build/**/*") if path.is_file()] == []


def test_report_of_no_list_is_an_error(tree: Path, newest: Scons) -> None:
    (tree / "images/one/SConscript").write_text(
        'Import("env")\nenv.ImageReport("x", ["one.txt", "one.tar"])\n'
    )

    ran = newest.run(tree, "images/one")

    assert ran.returncode == 2
    assert (
        "scons: *** SConscript:2: cannot report on x.report.html: it is "
        "made of a file list, its layer and the image archive; "
        "name what FileList, LayerTar and OciImage made\n"
    ) in ran.stdout


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        pytest.param("/bin/true", 0, ["WHY    one                 /usr/bin/true is in the image",
                                      "       the program is it", "       run default used it"],
                     id="listed, through a link"),
        pytest.param("/etc/issue", 0,
                     ["WHY    one                 /etc/issue is in the image",
                      "       extra list images/one/one.extra:2 asks for it"], id="extra list"),
        pytest.param("/etc/ld.so.preload", 0,
                     ["WHY    one                 /etc/ld.so.preload is not in the image",
                      "       run default looked for /etc/ld.so.preload and did not find it",
                      "       there is no /etc/ld.so.preload that could be packed; install or "
                      "make it"], id="absent"),
        pytest.param("/etc/localtime", 0,
                     ["WHY    one                 /etc/localtime is not in the image",
                      "       no run looked for /etc/localtime",
                      "       a line /etc/localtime in an extra list brings it, or the preset "
                      "tzdata"], id="what would bring it"),
        pytest.param("true", 2, ["scons: *** [why/images/one] cannot tell why 'true' is there: it "
                                 "is no path; say WHY=/PATH"], id="no path"),
        pytest.param("", 2, ["scons: *** [why/images/one] cannot tell why a path is there: none is "
                             "named; say scons why/images/one WHY=/PATH"], id="nothing asked for"),
    ],
)  # fmt: skip
def test_why_tells_the_reasons(
    tree: Path, newest: Scons, path: str, status: int, told: list[str]
) -> None:
    (tree / "images/one/one.extra").write_text("# more\n/etc/issue\n")
    (tree / "images/one/SConscript").write_text(
        'Import("env")\nenv.ScratchImage("one", "/bin/true", EXTRA_FILES="one.extra")\n'
    )
    newest.run(tree, "build/images/one/one.files")

    ran = newest.run(tree, "-Q", "why/images/one", f"WHY={path}")

    assert ran.returncode == status
    assert ran.stdout.splitlines() == told
    assert newest.run(tree, "-Q", "why/images/one", f"WHY={path}").stdout == ran.stdout
    assert not (tree / "build/images/one/one.tar").exists()


def test_why_builds_what_it_tells_from(tree: Path, scons: Scons) -> None:
    ran = scons.run(tree, "-Q", "why/images/two", "WHY=/usr/bin/true")

    labels = [line.split()[0] for line in ran.stdout.splitlines() if line[:1].isupper()]
    assert labels == ["TRACE", "LDD", "LIST", "WHY"]


def test_why_says_what_it_cannot_tell(tree: Path, newest: Scons) -> None:
    newest.run(tree, "build/images/one/one.files")
    (tree / "images/one/SConscript").write_text(
        'Import("env")\nenv.ScratchImage("one", "/bin/true")\n'
        'env.AddPostAction("one.files", "echo no list > $TARGET")\n'
    )

    ran = newest.run(tree, "-Q", "why/images/one", "WHY=/x")

    assert ran.returncode == 2
    assert "cannot read file list " in ran.stdout
    assert "Traceback" not in ran.stdout


def test_help_tells_of_targets_and_of_variables_as_they_are_set(tree: Path, scons: Scons) -> None:
    text = (tree / "SConstruct").read_text()
    (tree / "SConstruct").write_text(
        f'Help("mine")\n{text}'.replace('tools=["s', 'STRACE="$HERE/x", tools=["s', 1)
    )

    ran = scons.run(tree, "-Q", "--help")

    assert ran.returncode == 0
    assert ran.stdout.startswith("mine\nTargets of images:\n")
    assert "NAME is one of: one two\n" in ran.stdout
    assert "= $HERE/x\n" in ran.stdout
    assert "reading" not in ran.stdout
    assert scons.run(tree, "-Q", "help/images").stdout in ran.stdout
    assert "SCons Options:" not in ran.stdout


def test_help_of_an_image_tells_its_own_values(tree: Path, scons: Scons) -> None:
    (tree / "images/one/SConscript").write_text(
        'Import("env")\n'
        'image = {"/usr/bin/x": env.File("/bin/true")}\n'
        'env.ScratchImage("x", image, RUNS=["x --help"], IMAGE_USER="nonroot")\n'
    )
    (tree / "images/two/SConscript").write_text("assert False\n")

    ran = scons.run(tree, "-Q", "help/images/one")

    assert ran.returncode == 0
    assert ran.stdout.startswith("Targets of images/one:\n")
    assert "\nVariables of build/images/one/x.oci.tar, as they are set:\n" in ran.stdout
    for shown in ("nonroot", "['x --help']", "{b'/usr/bin/x': /bin/true}", "['/usr/bin/x']"):
        assert f" = {shown}\n" in ran.stdout
    assert not (tree / "build").exists()


def test_help_keeps_what_scons_has_to_say(tree: Path, scons: Scons) -> None:
    text = (tree / "SConstruct").read_text()
    image = 'env.ScratchImage("x", "/bin/true")\n'
    (tree / "SConstruct").write_text(text.replace('env.ImageTree("images")\n', image * 2))

    ran = scons.run(tree, "-Q", "--help")

    assert ran.stdout.startswith("usage: scons")
    assert ran.stdout.count("Variables of images") == 1
    assert ran.stdout.count("Targets of each image, by the path STEM of its files:\n") == 1
    assert "  test/STEM           runs it with nothing but what it holds\n" in ran.stdout
