"""The builders from a user's side: mistakes, options of SCons, odd names, text captured by hand."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import arm64
import pytest
from debs import install
from lab import NO_ENGINE, PACKAGE, WITHOUT_NAMESPACES, Lab, Scons
from project import Project


@pytest.fixture
def project(tmp_path: Path, scons: Scons) -> Project:
    return Project(tmp_path, scons)


def _mistake(output: str) -> str:
    """Return the one line that tells what is wrong."""
    [line] = [line for line in output.splitlines() if line.startswith("scons: ***")]
    return line


# Several platforms

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
    assert f"SConstruct:3: {message}" in _mistake(project.run(sconstruct, status=2))


# What goes wrong while a target is built


def _script(lab: Lab, text: str) -> None:
    (lab.world / "reader").unlink()
    lab.write(lab.world / "reader", text)
    (lab.world / "reader").chmod(0o755)


def _foreign(lab: Lab) -> None:
    # A machine that no emulator has.
    data = bytearray((lab.world / "reader").read_bytes())
    data[18:20] = b"\xee\xee"
    (lab.world / "reader").write_bytes(data)


def _extra(lab: Lab, text: str) -> None:
    lab.write(lab.project / "images/reader/reader.extra", text)


BAD = [
    pytest.param(lambda lab: (lab.world / "reader").unlink(),
                 "cannot trace run first: there is no {world}/reader; ", id="program missing"),
    pytest.param(lambda lab: (lab.world / "reader").chmod(0o644),
                 "cannot trace run first: {world}/reader is no executable file; ", id="not executable"),
    pytest.param(lambda lab: _script(lab, "no program\n"),
                 "cannot trace run first: {world}/reader cannot be executed: ", id="neither ELF nor script"),
    pytest.param(_foreign, "cannot trace run first: {world}/reader is a program for machine 61166 ", id="foreign architecture"),
    pytest.param(lambda lab: _script(lab, "#!/bin/sh\necho its last words >&2\nexit 3\n"),
                 "its last words", id="other exit status"),
    pytest.param(lambda lab: _script(lab, "#!/bin/sh\nkill -SEGV $$\n"),
                 "SIGSEGV", id="killed by a signal"),
    pytest.param(lambda lab: (lab.world / "lib2/libgreet.so").unlink(), "libgreet.so",
                 id="library missing"),
    pytest.param(lambda lab: _extra(lab, "relative\n/a/../b\n"),
                 "cannot read extra list images/reader/reader.extra: "
                 "images/reader/reader.extra:1: the path is not absolute, "
                 "images/reader/reader.extra:2: the path has a . or .. in it; ",
                 id="extra list that cannot be parsed"),
    pytest.param(lambda lab: _extra(lab, f"{lab.world}/none\n"),
                 "cannot find extra files: images/reader/reader.extra:1: {world}/none; ",
                 id="extra file that does not exist"),
]  # fmt: skip


@pytest.fixture
def lab(tmp_path: Path, scons: Scons) -> Lab:
    return Lab(tmp_path, scons).make()


@pytest.mark.parametrize(("spoil", "message"), BAD)
def test_bad_input_is_one_line_and_spoils_nothing(
    lab: Lab, spoil: Callable[[Lab], None], message: str
) -> None:
    lab.build()
    before = _tree(lab.out("").parent)
    spoil(lab)

    output = lab.build(status=2).output

    assert message.format(world=lab.world) in _mistake(output)
    assert _mistake(output).count(";") >= 1
    after = _tree(lab.out("").parent)
    assert {name: data for name, data in after.items() if name in before} == before
    assert not [name for name in after if name.endswith(".new")]
    # The mistake is not forgotten: without a mend, the next build says the same.
    assert _mistake(lab.build(status=2).output) == _mistake(output)


def _tree(directory: Path) -> dict[str, bytes]:
    """Return all files but the footprints: a step that failed has none."""
    return {
        path.name: path.read_bytes()
        for path in sorted(directory.iterdir())
        if not path.name.endswith(".footprint")
    }


def test_run_that_never_ends_is_ended_with_all_its_processes(project: Project) -> None:
    program = project.directory / "sleeper"
    program.write_text("#!/bin/sh\nsleep 1234.5 &\nsleep 1234.5\n")
    program.chmod(0o755)

    output = project.run(
        f"from scratch_image import Run\nenv.Strace('x', '{program}', RUN=Run(timeout=0.5))\n",
        status=2,
    )

    assert "cannot trace" in _mistake(output)
    left = subprocess.run(["pgrep", "-f", "sleep 1234.5"], capture_output=True, check=False)
    assert left.stdout == b""


def test_strace_that_is_missing(project: Project) -> None:
    output = project.run("env.Strace('x', '/bin/true', STRACE='no-strace')\n", status=2)

    assert "no-strace" in _mistake(output)
    assert "apt-get install strace" in _mistake(output)


def test_file_that_vanishes_between_list_and_tar(lab: Lab) -> None:
    lab.build()
    (lab.world / "extra1.txt").write_text("changed")
    text = lab.out(".files").read_text()
    (lab.world / "extra1.txt").unlink()
    sconstruct = lab.project / "SConstruct"
    sconstruct.write_text(sconstruct.read_text() + "env.LayerTar('again', 'again.files')\n")
    (lab.project / "again.files").write_text(text)

    output = lab.build("again.tar", status=2).output

    assert f"cannot pack {lab.world}/extra1.txt: it has gone; " in _mistake(output)
    assert not (lab.project / "again.tar").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_full_disk(lab: Lab) -> None:
    small = lab.project / "build"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "none", small], check=True)
    try:
        output = lab.build(status=2).output

        line = _mistake(output)
        tar = "build/images/reader/reader.tar"
        assert line == (
            f"scons: *** [{tar}] cannot write {tar}: No space left on device; "
            "free some space and build again"
        )
        assert not list(small.rglob("*.new"))
        assert not lab.out(".tar").exists()
    finally:
        subprocess.run(["umount", small], check=True)


def test_source_that_cannot_be_read(project: Project) -> None:
    (project.directory / "data").write_text("")
    made = "env.Command('x.extra', 'data', Mkdir('$TARGET'))\n"

    told = project.run(f"{made}env.FileList('x', 'x.extra')\n", "x.files", status=2)

    assert _mistake(told) == (
        "scons: *** [x.files] cannot read x.extra: Is a directory; name a file"
    )


def test_source_that_is_a_directory(project: Project) -> None:
    (project.directory / "x.extra").mkdir()

    told = project.run("env.FileList('x', env.Entry('x.extra'))\n", "x.files", status=2)

    assert _mistake(told) == (
        "scons: *** SConstruct:3: cannot use 'x.extra' for x.files: it is a directory; name a file"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads all")
def test_file_that_nobody_named_and_cannot_be_read(project: Project) -> None:
    (project.directory / "data").mkdir(mode=0o300)
    (project.directory / "x.extra").write_text("data -> /data\n")

    told = project.run("env.FileList('x', 'x.extra')\n", "x.files", status=2)

    assert "make it readable by the user who runs scons" in _mistake(told)


# What is wrong in an SConscript


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param("env.OciImage('x', 'x.tar', IMAGE_TAG='Upper')",
                     "SConstruct:3: cannot tag image 'Upper': ", id="tag that Docker refuses"),
        pytest.param("env.OciImage('x', 'x.tar', IMAGE_TAG='t'); "
                     "env.OciImage('y', 'y.tar', IMAGE_TAG='t:latest')",
                     "SConstruct:3: cannot tag image t:latest: x.oci.tar (SConstruct:3) has that "
                     "tag; give each image its own", id="two images with one tag"),
        pytest.param("env.Strace('x', ['/bin/true', '/bin/false'])",
                     "SConstruct:3: cannot trace x.strace: it has not one program; "
                     "name just one", id="two programs"),
        pytest.param("env.Strace('x', '/bin/true', RUN='true | false')",
                     "SConstruct:3: cannot read the command", id="command for a shell"),
        pytest.param("from scratch_image import Run; Run('true > x')",
                     "SConstruct:3: cannot read the command", id="run for a shell"),
        pytest.param("env.OciImage('x', 'x.tar', SOURCE_DATE_EPOCH='now')",
                     "SConstruct:3: cannot use SOURCE_DATE_EPOCH 'now': it is not a whole number "
                     "from 0 to 8589934591; write SOURCE_DATE_EPOCH=1793491200, for example", id="epoch"),
        pytest.param("env.OciImage('x', 'x.tar', SOURCE_DATE_EPOCH=-1)",
                     "SConstruct:3: cannot use SOURCE_DATE_EPOCH -1: ", id="negative epoch"),
        pytest.param("env.OciImage('x', 'x.tar', IMAGE_WORKDIR='srv')",
                     "SConstruct:3: cannot use IMAGE_WORKDIR 'srv': it is not an absolute path; ",
                     id="relative working directory"),
        pytest.param("env.OciImage('x', 'x.tar', IMAGE_PORTS=70000)",
                     "SConstruct:3: cannot expose port '70000' of the image: ", id="port"),
        pytest.param("env.OciImage('x', 'x.tar', IMAGE_ANNOTATIONS={'': ''})",
                     "SConstruct:3: cannot annotate image by '': ", id="annotation"),
        pytest.param("env.ImageIndex('x', 'x.oci.tar', IMAGE_ANNOTATIONS={'': ''})",
                     "SConstruct:3: cannot annotate image by '': ", id="annotation of an index"),
        pytest.param("env.OciImage('x', 'x.tar', IMAGE_HEALTHCHECK='a \"b')",
                     "SConstruct:3: cannot read words 'a \"b': No closing quotation; write them as "
                     "a shell would take them, or as a list", id="words"),
        pytest.param("env.ScratchImage('x', {'usr/bin/x': 'x'})",
                     "SConstruct:3: cannot stage 'usr/bin/x': it is not a plain absolute path; "
                     "write the path that the file will have in the image", id="relative stage"),
        pytest.param("env.ScratchImage('x', {'/srv/../x': 'x'})",
                     "SConstruct:3: cannot stage '/srv/../x': it is not a plain absolute path; ",
                     id="stage with dots"),
        pytest.param("env.ScratchImage('x', {'//x': 'x'})",
                     "SConstruct:3: cannot stage '//x': it is not a plain absolute path; ",
                     id="stage with two slashes"),
        pytest.param("env.ScratchImage('x', {'/': 'x'})",
                     "SConstruct:3: cannot stage '/': it is not a plain absolute path; ",
                     id="stage as the root"),
        pytest.param("env.ScratchImage('x', {'/x': env.Dir('d')})",
                     "SConstruct:3: cannot stage '/x': d is a directory; stage files",
                     id="stage of a directory"),
        pytest.param("env.ScratchImage('x', {'/x': '.'})",
                     "SConstruct:3: cannot stage '/x': . is a directory; stage files",
                     id="stage of the name of a directory"),
        pytest.param("env.ScratchImage('x', {'/x': []})",
                     "SConstruct:3: cannot stage [] at '/x': it is not one file; name one file",
                     id="stage of nothing"),
        pytest.param("env.ScratchImage('x', {3: 'x'})",
                     "SConstruct:3: cannot stage 'x' at 3: that is not a path; write one in the "
                     "image",
                     id="stage at no path"),
        pytest.param("env.ScratchImage('x', {'/proc/x': 'x'})",
                     "SConstruct:3: cannot stage '/proc/x': an engine mounts its own there; "
                     "stage it elsewhere", id="stage in a tree of the kernel's"),
        pytest.param("env.ScratchImage('x', {})",
                     "SConstruct:3: cannot make an image of nothing: no file is staged; "
                     "stage the program", id="nothing staged"),
        pytest.param("from scratch_image import Run\n"
                     "env.ScratchImage('x', '/bin/true', RUNS=[Run(name='a'), Run(name='a')])",
                     "SConstruct:4: cannot tell runs apart: two have one name; ", id="run names"),
        pytest.param("env.LayerTar('x', 'x.files', LAYERTARSUFFIX='.zip')",
                     "SConstruct:3: cannot use LAYERTARSUFFIX '.zip': ", id="suffix of no compressor"),
        pytest.param("env.LayerStack('x', 'x.files', LAYERTARSUFFIX='.zip')",
                     "SConstruct:3: cannot use LAYERTARSUFFIX '.zip': ", id="suffix of blobs"),
        pytest.param("env.ScratchImage('x', '/bin/true', IMAGE_LAYERS='files')",
                     "SConstruct:3: cannot use IMAGE_LAYERS 'files': it is not 'single' or 'packages'; "
                     "write IMAGE_LAYERS=\"packages\", for example", id="kind of layers"),
        pytest.param("env.ImageTest('x', 'x.tar')",
                     "SConstruct:3: cannot test x.tested: it has no layer or no trace; "
                     "name what LayerTar and Strace made", id="test without a trace"),
        pytest.param("env.Sbom('x.json', ['x.files', 'x.oci.tar'])",
                     "SConstruct:3: cannot make bill of materials x.json: its suffix tells no form; "
                     "end its name in one of .spdx.json, .cdx.json", id="form of a bill"),
        pytest.param("env.Sbom('x.cdx.json', ['x.oci.tar', 'x.files'])",
                     "SConstruct:3: cannot make bill of materials x.cdx.json: it is made of a file "
                     "list and an image archive; name just these, in this order",
                     id="what a bill is made of"),
        pytest.param("env.FileList('x', 'x.ldd', IMAGE_PACKAGES='licences')",
                     "SConstruct:3: cannot use IMAGE_PACKAGES 'licences': it is not True, False or "
                     "'copyright'; write IMAGE_PACKAGES=False, for example", id="what scanners are told"),
        pytest.param("env.ImageTree('nowhere')",
                     "SConstruct:3: cannot read images: there is no directory nowhere; make it",
                     id="no directory of images"),
    ],
)  # fmt: skip
def test_mistake_in_an_sconscript_is_one_line_with_its_place(
    project: Project, line: str, message: str
) -> None:
    output = project.run(line + "\n", status=2)

    assert _mistake(output).startswith(f"scons: *** {message}")
    assert "File " not in output


# The engine


def test_load_without_an_engine_is_an_error_when_asked_for(lab: Lab) -> None:
    assert lab.build().steps == ["IMAGE", "LDD", "LIST", "TAR", "TRACE first", "TRACE second"]
    assert lab.build(".").steps == []

    output = lab.build("build/images/reader/reader.iid", status=2).output

    assert f"cannot reach engine at {NO_ENGINE}: " in _mistake(output)


def test_archive_without_an_engine_says_how_to_load_it(lab: Lab) -> None:
    output = lab.build().output

    assert (
        f"no engine answers at {NO_ENGINE}: docker load -i build/images/reader/reader.oci.tar"
        in output.splitlines()
    )


# SCons's own options


def test_dry_run_tells_the_steps_and_does_nothing(lab: Lab) -> None:
    planned = lab.build("-n")

    assert planned.steps == ["IMAGE", "LDD", "LIST", "TAR", "TRACE first", "TRACE second"]
    assert not lab.out(".files").exists()
    assert lab.build().steps == planned.steps


def test_question_is_answered_by_the_status(lab: Lab) -> None:
    lab.build("-q", "images/reader", status=1)
    lab.build()
    lab.build("-q", "images/reader", status=0)
    lab.write(lab.world / "data.txt", "new")
    lab.build("-q", "images/reader", status=1)


def test_clean_takes_all_away(lab: Lab) -> None:
    lab.build()
    lab.build("-c", "images/reader")

    assert list(lab.out("").parent.glob("*")) == []


def test_clean_takes_what_a_killed_build_left(lab: Lab) -> None:
    lab.build()
    for name in (
        ".reader.tar.0123abcd.new",
        "..reader.tar.footprint.0123abcd.new",
        ".reader.tar.lock",
    ):
        (lab.out("").parent / name).write_text("half")

    lab.build("-c", "images/reader")

    assert list(lab.out("").parent.iterdir()) == []


def test_keep_going_builds_what_it_can(lab: Lab) -> None:
    _extra(lab, "relative\n")

    output = lab.build("-k", "images/reader", status=2)

    assert output.steps == ["LDD", "TRACE first", "TRACE second"]


def test_silent_says_nothing(lab: Lab) -> None:
    assert lab.build("-s", "images/reader").output == ""


def test_tree_names_the_footprints(lab: Lab) -> None:
    output = lab.build("--tree=all", "images/reader").output

    assert "footprint of build/images/reader/reader.tar" in output


EXPLAINED = [
    pytest.param(lambda lab: lab.write(lab.world / "data.txt", "new"), "data.txt: content changed",
                 id="content"),
    pytest.param(lambda lab: (lab.world / "data.txt").chmod(0o600),
                 "data.txt: mode or owner changed from 0644 ", id="mode"),
    pytest.param(lambda lab: ((lab.world / "link").unlink(),
                              (lab.world / "link").symlink_to("same2.txt")),
                 "link: link changed from same1.txt to same2.txt", id="link"),
    pytest.param(lambda lab: lab.write(lab.world / "maybe", ""), "maybe: appeared", id="appeared"),
    pytest.param(lambda lab: (lab.world / "only-stat.txt").unlink(), "only-stat.txt: vanished",
                 id="vanished"),
    pytest.param(lambda lab: lab.write(lab.world / "dir/two", ""), "dir: listing changed",
                 id="listing"),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "phrase"), EXPLAINED)
def test_explain_names_the_path_and_how_it_changed(
    lab: Lab, edit: Callable[[Lab], None], phrase: str
) -> None:
    lab.build()
    edit(lab)

    output = lab.build("--debug=explain", "images/reader").output

    assert f"scons: build/images/reader/reader.first.strace: {lab.world}/{phrase}" in output, output
    assert output.count(f"reader.first.strace: {lab.world}/{phrase.split(' ')[0]}") == 1


def test_implicit_cache(lab: Lab) -> None:
    lab.build("--implicit-cache", "images/reader")
    assert lab.build("--implicit-cache", "images/reader").steps == []
    lab.write(lab.world / "data.txt", "new")

    built = lab.build("--implicit-cache", "images/reader")

    assert built.steps == ["IMAGE", "TAR", "TRACE first", "TRACE second"]


def test_interactive_sees_what_changes_between_two_builds(lab: Lab) -> None:
    lab.build()
    commands = f"build images/reader\nshell rm {lab.world}/only-stat.txt\nbuild images/reader\n"
    ran = lab.scons.run(
        lab.project, "--interactive", f"engine={NO_ENGINE}", timeout=60, commands=commands
    )

    assert ran.returncode == 0, ran.stdout
    assert ran.stdout.count("TRACE") == 2, ran.stdout
    assert lab.build().steps == []


@pytest.mark.parametrize("decider", ["timestamp-newer", "timestamp-match", "content-timestamp"])
def test_other_decider_of_the_project(lab: Lab, decider: str) -> None:
    sconstruct = lab.project / "SConstruct"
    sconstruct.write_text(
        sconstruct.read_text().replace("env.Im", f"env.Decider('{decider}')\nenv.Im")
    )
    lab.build()
    assert lab.build().steps == []
    lab.write(lab.world / "dir/two", "")

    assert lab.build().steps == ["TRACE first", "TRACE second"]
    assert lab.build().steps == []


def test_cache_dir_shares_no_trace(lab: Lab, tmp_path: Path) -> None:
    sconstruct = lab.project / "SConstruct"
    sconstruct.write_text(sconstruct.read_text() + f"env.CacheDir('{tmp_path}/cache')\n")
    lab.build()
    lab.write(lab.world / "data.txt", "new")
    copy = tmp_path / "copy"
    Lab.copy_project(lab.project, copy)

    assert len(lab.build(project=copy).steps) == 6


def test_users_line_replaces_ours(lab: Lab) -> None:
    sconstruct = lab.project / "SConstruct"
    sconstruct.write_text(
        sconstruct.read_text().replace("env.Im", "env['LDDCOMSTR'] = 'libraries: $TARGET'\nenv.Im")
    )

    output = lab.build().output

    assert "libraries: build/images/reader/reader.ldd" in output.splitlines()
    assert "LDD  " not in output


# What the steps are made of


def test_odd_names_simply_work(project: Project) -> None:
    names = [b"a b", b'"quoted"', b"it's", b"new\nline", b"latin\xe9", b"back\\slash", b"-> arrow"]
    world = os.fsencode(project.directory / "odd names")
    os.mkdir(world)
    for name in names:
        with open(os.path.join(world, name), "wb") as file:
            file.write(name)
    program = project.compile(
        "show",
        "#include <dirent.h>\n#include <fcntl.h>\n#include <unistd.h>\n"
        'int main(int c, char **v) { chdir(v[1]); DIR *d = opendir("."); struct dirent *e;'
        " while ((e = readdir(d))) close(open(e->d_name, O_RDONLY)); return 0; }",
    )

    project.run(f"env.ScratchImage('x', '{program}', RUNS=[['show', '{os.fsdecode(world)}']])\n")

    listed = subprocess.run(
        ["tar", "--quoting-style=escape", "-tf", "x.tar"],
        cwd=project.directory,
        capture_output=True,
        check=True,
    ).stdout
    assert listed.count(b"odd names/") == len(names) + 1
    for name in names:
        found = subprocess.run(
            ["tar", "-xOf", "x.tar", "--no-wildcards", os.path.join(world, name)[1:]],
            cwd=project.directory,
            capture_output=True,
            check=True,
        )
        assert found.stdout == name
    assert "up to date" in project.run(
        f"env.ScratchImage('x', '{program}', RUNS=[['show', '{os.fsdecode(world)}']])\n"
    )


def test_text_captured_by_hand(project: Project) -> None:
    directory = project.directory
    (directory / "data").write_text("data")
    hand = ["strace", "-f", "-o", "hand.strace", "/bin/cat", str(directory / "data")]
    subprocess.run(hand, cwd=directory, check=True, capture_output=True)
    with (directory / "hand.ldd").open("wb") as output:
        subprocess.run(["ldd", "/bin/cat"], check=True, stdout=output)

    project.run("env.FileList('hand', ['hand.strace', 'hand.ldd'])\n")

    listed = (directory / "hand.files").read_text()
    assert f"{directory}/data run:hand\n" in listed
    assert "/libc.so.6 needed-by" in listed or "/libc.so.6 run:hand" in listed
    assert "target-of:/usr/lib64/ld-linux-x86-64.so.2" in listed
    (directory / "sub").mkdir()
    (directory / "sub/other.strace").write_text("hello world\n")
    refused = project.run("env.FileList('other', 'sub/other.strace')\n", status=2)
    assert "cannot read sub/other.strace:1: 'hello world' is no line of strace" in refused


PROGRAM = '#include <stdio.h>\nint main(void) { return puts("hello") < 0 || !fopen(DATA, "r"); }\n'


def test_project_program_lies_at_its_image_path(project: Project) -> None:
    (project.directory / "hello.c").write_text(PROGRAM)
    (project.directory / "hello.dat").write_text("data")
    sconstruct = """\
cc = Environment(tools=["default"])
hello = cc.Program("out/hello", "hello.c", CPPDEFINES={"DATA": '\\\\"/etc/hostname\\\\"'})
files = {"/opt/hello/bin/hello": hello, "/opt/hello/hello.dat": "hello.dat"}
env.ScratchImage("out/image/hello", files)
"""

    project.run(sconstruct)

    listed = (project.directory / "out/image/hello.files").read_text()
    assert "file 0755 0:0 /opt/hello/bin/hello program run:default staged\n" in listed
    assert "file 0644 0:0 /opt/hello/hello.dat staged\n" in listed
    assert str(project.directory) not in listed
    assert "up to date" in project.run(sconstruct)

    (project.directory / "hello.c").write_text(PROGRAM.replace("hello", "world"))
    output = project.run(sconstruct)
    assert [line.split()[0] for line in output.splitlines() if line[:5].isupper()] == [
        "TRACE", "LDD", "TAR", "IMAGE",
    ]  # fmt: skip
    assert "up to date" in project.run(sconstruct)

    (project.directory / "hello.dat").write_text("other")
    output = project.run(sconstruct)
    assert "TRACE" not in output
    assert "TAR  " in output


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.zst"])
def test_compressed_layers_hold_the_same(project: Project, suffix: str) -> None:
    project.run(f"env.ScratchImage('x', '/bin/true', LAYERTARSUFFIX='{suffix}')\n")

    made = project.directory / f"x{suffix}"
    flags = {".tar": [], ".tar.gz": ["-z"], ".tar.zst": ["--zstd"]}[suffix]
    listed = subprocess.run(["tar", *flags, "-tf", made], capture_output=True, check=True).stdout
    assert b"usr/bin/true" in listed.split()
    assert (project.directory / "x.oci.tar").exists()


SETTINGS = """
from scratch_image import HealthCheck
env.ScratchImage(
    "x",
    "/usr/bin/id",
    IMAGE_TAG=["settings:1", "settings:2"],
    IMAGE_USER="nonroot",
    IMAGE_PORTS=[8080, "53/udp"],
    IMAGE_VOLUMES="/data",
    IMAGE_STOP_SIGNAL="SIGQUIT",
    IMAGE_HEALTHCHECK=HealthCheck("id -u nobody", interval=5, retries=2),
    IMAGE_ANNOTATIONS={"org.opencontainers.image.version": 1.5},
    SOURCE_DATE_EPOCH=7,
)
"""


def test_settings_of_an_image(tmp_path: Path, newest: Scons, engine: str) -> None:
    project = Project(tmp_path, newest, engine)

    project.run(SETTINGS)

    archive = f"oci-archive:{tmp_path}/x.oci.tar:1"
    found = [
        json.loads(subprocess.run(["skopeo", "inspect", *each, archive], stdout=subprocess.PIPE, check=True).stdout)
        for each in (["--raw"], ["--config"])
    ]  # fmt: skip
    assert found[0]["annotations"] == {"org.opencontainers.image.version": "1.5"}
    assert found[1]["created"] == "1970-01-01T00:00:07Z"
    expected = {
        "User": "65532",
        "ExposedPorts": {"8080/tcp": {}, "53/udp": {}},
        "Volumes": {"/data": {}},
        "StopSignal": "SIGQUIT",
    }
    health = {"Test": ["CMD", "id", "-u", "nobody"], "Interval": 5 * 10**9, "Retries": 2}
    assert expected.items() <= found[1]["config"].items()
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    docker = ["docker", "-H", engine]
    told = subprocess.run([*docker, "inspect", "settings:2"], stdout=subprocess.PIPE, check=True)
    [image] = json.loads(told.stdout)
    assert {**expected, "Healthcheck": health}.items() <= image["Config"].items()
    command = [*docker, "run", "--rm", "--network=none", "settings:1"]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert ran.stdout == "uid=65532(nonroot) gid=65532(nonroot) groups=65532(nonroot)\n"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        pytest.param("IMAGE_CMD='/bin/none -x'", "cannot start '/bin/none' of IMAGE_CMD: ", id="CMD"),
        pytest.param("IMAGE_HEALTHCHECK='curl localhost'",
                     "cannot start 'curl' of IMAGE_HEALTHCHECK: ", id="health check"),
        pytest.param("IMAGE_USER='app', EXTRA_FILES='x.extra'",
                     "cannot run the image as 'app': its /etc/passwd has no such one; ", id="user"),
    ],
)  # fmt: skip
def test_image_that_cannot_start(project: Project, setting: str, message: str) -> None:
    for name in ("passwd", "group"):
        (project.directory / name).write_text("root:x:0:0::/:\n")
    (project.directory / "x.extra").write_text("passwd -> /etc/passwd\ngroup -> /etc/group\n")

    output = project.run(f"env.ScratchImage('x', '/bin/true', {setting})\n", status=2)

    assert _mistake(output).startswith(f"scons: *** [x.oci.tar] {message}")
    assert not (project.directory / "x.oci.tar").exists()


def test_image_of_layers_by_package_passes_its_test(project: Project) -> None:
    lines = "env.ScratchImage('x', '/bin/busybox', IMAGE_LAYERS='packages')\n"

    output = project.run(lines, "x.oci.tar", "x.tested")

    assert re.search(r"^TAR    x +\d layers, (\S+) MB, \1 MB of it new, ", output, re.MULTILINE)
    assert re.search("^TEST   x +default", output, re.MULTILINE)
    assert "is up to date" in project.run(lines, "x.oci.tar", "x.tested")


def test_user_values_stay(project: Project) -> None:
    tool = f"tools=['scratch_image'], toolpath=['{PACKAGE.parent}']"
    project.run(
        f"other = Environment({tool}, STRACE='mine')\n"
        "assert other['STRACE'] == 'mine'\n"
        f"assert other.Clone({tool})['STRACE'] == 'mine'\n"
    )


def test_what_extra_lists_name_is_built_first(project: Project) -> None:
    (project.directory / "x.extra").write_text(
        "include more.extra\nmade.txt -> /etc/made.txt\nsub -> /opt/sub\n"
    )
    sconstruct = (
        "env.FileList('x', 'x.extra')\n"
        "for name in ('made.txt', 'sub/deep/made.txt'):\n"
        "    env.Command(name, [], 'echo made > $TARGET')\n"
        "env.Command('more.extra', [], 'echo /etc/passwd > $TARGET')\n"
    )

    project.run(sconstruct, "x.files", "-j8")

    listed = (project.directory / "x.files").read_text()
    assert "/etc/made.txt <- made.txt extra:x.extra" in listed
    assert "/opt/sub/deep/made.txt <- sub/deep/made.txt extra:x.extra" in listed
    assert "/etc/passwd extra:more.extra" in listed
    assert "is up to date" in project.run(sconstruct, "x.files")
    (project.directory / "made.txt").unlink()
    again = project.run(sconstruct, "x.files")
    assert "echo made > made.txt" in again
    assert "LIST" not in again


def test_variables_of_the_file_list(project: Project) -> None:
    (project.directory / "etc").mkdir()
    for name in ("id_rsa", "one", "two"):
        (project.directory / "etc" / name).write_text("")
    there = project.directory / "etc"
    (project.directory / "x.extra").write_text(f"{there}/id_rsa\n")
    sconstruct = (
        f"trace = env.Strace('x', '/bin/ls', RUN='ls {there}')\n"
        "env.FileList('x', [trace, 'x.extra'], IMAGE_PRESETS=['tmp'],\n"
        f"    IMAGE_LISTED='{there}', IMAGE_ALLOW='{there}/id_rsa')\n"
    )

    project.run(sconstruct, "x.files")

    listed = (project.directory / "x.files").read_text()
    assert "dir 1777 0:0 /var/tmp preset:tmp" in listed
    assert f"{there}/one listed-by:default" in listed
    assert f"{there}/id_rsa extra:x.extra" in listed
    assert "TRACE" not in project.run(sconstruct.replace("['tmp']", "'tmp nss'"), "x.files")
    assert "/etc/nsswitch.conf" in (project.directory / "x.files").read_text()
    refused = project.run(sconstruct.replace("/id_rsa')", "/one')"), "x.files", status=2)
    assert "it is a secret" in _mistake(refused)
    assert (project.directory / "x.files").read_text().count("nsswitch") == 1


SECRET_SETTINGS = [
    ("IMAGE_ENV={'DB_PASSWORD': 'hunter2'}", "DB_PASSWORD", "password"),
    ("IMAGE_LABELS={'org.example.token': 'hunter2'}", "org.example.token", "password"),
    ("IMAGE_ANNOTATIONS={'a.b': 'https://a:hunter2@x'}", "a.b", "password in a URL"),
    ("IMAGE_CMD='/bin/busybox --password=hunter2'", "IMAGE_CMD", "password"),
    ("IMAGE_ENTRYPOINT='/bin/busybox --token hunter2'", "IMAGE_ENTRYPOINT", "password"),
    ("IMAGE_HEALTHCHECK='/bin/busybox API_KEY=hunter2'", "IMAGE_HEALTHCHECK", "password"),
    ("RUNS=[Run('true', env={'RUN_TOKEN': 'hunter2'})]", "RUN_TOKEN", "password"),
    (
        "RUNS=[Run('httpd', ready='tcp:80', probes=['curl --password=hunter2'])]",
        "RUNS",
        "password",
    ),
    ("RUN='echo --password=hunter2'", "RUNS", "password"),
]


@pytest.mark.parametrize(("setting", "name", "kind"), SECRET_SETTINGS)
def test_secret_in_a_setting_is_refused(
    project: Project, setting: str, name: str, kind: str
) -> None:
    call = "Strace" if setting.startswith("RUN=") else "ScratchImage"

    refused = project.run(
        f"from scratch_image import Run\nenv.{call}('x', '/bin/busybox', {setting})\n", status=2
    )

    told = _mistake(refused)
    assert (
        f"cannot use {name}: it holds a secret ({kind}); take that out, or add {name} to " in told
    )
    assert "hunter2" not in refused


def test_secrets_in_settings_are_allowed_by_name(project: Project) -> None:
    settings = ", ".join(setting for setting, _, _ in SECRET_SETTINGS[:-2])
    names = [name for _, name, _ in SECRET_SETTINGS]

    project.run(
        "from scratch_image import Run\n"
        f"env.ScratchImage('x', '/bin/busybox', {settings}, IMAGE_ALLOW={names})\n",
        "-n",
    )


def test_run_starts_in_its_directory(project: Project) -> None:
    (project.directory / "a").mkdir()
    runs = f"Run('busybox cat data', cwd='{project.directory}/a', name='a'), Run('busybox pwd', name='workdir')"
    sconstruct = (
        "from scratch_image import Run\n"
        f"env.ScratchImage('x', '/bin/busybox', RUNS=[{runs}], IMAGE_WORKDIR='/usr/share')\n"
    )
    (project.directory / "a/data").write_text("data")

    project.run(sconstruct, "x.oci.tar", "x.tested")

    assert (project.directory / "x.a.stdout").read_text() == "data"
    assert (project.directory / "x.workdir.stdout").read_text() == "/usr/share\n"
    listed = (project.directory / "x.files").read_text()
    assert f"{project.directory}/a/data run:a\n" in listed
    assert "/usr/share run:workdir\n" in listed


# Sysroots


@pytest.fixture
def base(project: Project) -> Path:
    """Make a directory of a program that the machine does not have, with all that it needs."""
    base = project.directory / "base"
    (base / "lib64").mkdir(parents=True)
    shutil.copy("/lib64/ld-linux-x86-64.so.2", base / "lib64")
    shutil.copy("/lib/x86_64-linux-gnu/libc.so.6", base / "lib64")
    (base / "opt").mkdir()
    project.compile("base/opt/hello", 'int puts(const char *); int main(void) { puts("hello"); }')
    (base / "opt/data").write_text("of the base")
    return base


def _image(project: Project, arguments: str) -> str:
    """Return the lines that declare an image of a sysroot, with no engine and no runs."""
    (project.directory / "hello.extra").write_text("own.txt -> /srv/own\n/opt/data -> /srv/data\n")
    (project.directory / "own.txt").write_text("own")
    return (
        f"root = env.Sysroot('build/x', {arguments})\n"
        "env.ScratchImage('build/hello', '/opt/hello', ROOT=root, RUNS=[], EXTRA_FILES='hello.extra')\n"
    )


def _layer(project: Project) -> dict[str, str]:
    with tarfile.open(project.directory / "build/hello.tar") as tar:
        members = [member for member in tar if member.isfile() and member.size < 100]
        return {each.name: _text(tar, each) for each in members}


def _text(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    content = tar.extractfile(member)
    assert content
    return content.read().decode()


def test_image_of_a_directory(project: Project, base: Path) -> None:
    lines = _image(project, "directory='base'")

    output = project.run(lines)

    assert re.search("^ROOT   x +base, ", output, re.MULTILINE)
    assert _layer(project) == {"srv/own": "own", "srv/data": "of the base"}
    assert "is up to date" in project.run(lines)
    (base / "opt/unread").write_text("")
    (base / "opt/data").write_text("changed")
    assert _steps(project.run(lines)) == ["TAR", "IMAGE"]
    (project.directory / "own.txt").write_text("changed")
    assert _steps(project.run(lines)) == ["TAR", "IMAGE"]
    project.run(lines, "-c")
    assert base.is_dir()


def _steps(output: str) -> list[str]:
    return [line.split()[0] for line in output.splitlines() if line[:1].isupper() and "  " in line]


def test_packages_of_a_sysroot(project: Project, base: Path) -> None:
    lines = _image(project, "directory='base'")
    install(base, "data", {"/opt/data": "of the base"})
    install(base, "libc6:amd64", {"/usr/share/doc/libc6/copyright": "LGPL"})
    with (base / "var/lib/dpkg/info/libc6:amd64.list").open("a") as stream:
        stream.write("/lib64/libc.so.6\n")
    home = "var/lib/dpkg/status.d"

    project.run(lines)

    told = _layer(project)
    assert "Package: data\n" in told[f"{home}/data"]
    assert told[f"{home}/data.md5sums"].endswith("  srv/data\n")
    assert "Version: 1-1\n" in told[f"{home}/libc6:amd64"]
    footprint = project.directory / "build/.hello.files.footprint"
    before = json.loads(footprint.read_bytes())["values"]
    install(base, "other", {"/opt/other": ""})
    assert "is up to date" in project.run(lines, "-n")
    project.run(lines, "-q")
    assert json.loads(footprint.read_bytes())["values"] == before
    assert "is up to date" in project.run(lines)
    noted = json.loads(footprint.read_bytes())["values"]
    assert [name for name in before if before[name] != noted[name]] == ["dpkg"]
    assert "is up to date" in project.run(lines)
    assert json.loads(footprint.read_bytes())["values"] == noted
    install(base, "data", {"/opt/data": "of the base"}, version="2")
    output = project.run(lines, "--debug=explain")
    assert "scons: build/hello.files: /opt/data: Debian package changed\n" in output
    assert _steps(output) == ["LIST", "TAR", "IMAGE"]
    assert "is up to date" in project.run(lines)
    project.run(lines.replace("RUNS=[]", "RUNS=[], IMAGE_PACKAGES='copyright'"))
    assert _layer(project)["usr/share/doc/libc6/copyright"] == "LGPL"
    project.run(lines.replace("RUNS=[]", "RUNS=[], IMAGE_PACKAGES=False"))
    assert list(_layer(project)) == ["srv/data", "srv/own"]


def test_image_of_a_tar_that_is_made_anew(project: Project, base: Path) -> None:
    tar = f"tar -cf {project.directory}/rootfs.tar -C {base} ."
    subprocess.run(tar.split(), check=True)
    lines = _image(project, "'rootfs.tar'")
    tree = project.directory / "build/x.root"

    assert _steps(project.run(lines)) == ["ROOT", "LDD", "LIST", "TAR", "IMAGE"]
    assert "is up to date" in project.run(lines)
    (base / "opt/unread").write_text("")
    subprocess.run(tar.split(), check=True)
    assert _steps(project.run(lines)) == ["ROOT"]
    assert "is up to date" in project.run(lines)
    (base / "opt/data").write_text("changed")
    subprocess.run(tar.split(), check=True)
    assert _steps(project.run(lines)) == ["ROOT", "TAR", "IMAGE"]
    shutil.rmtree(tree)
    assert _steps(project.run(lines)) == ["ROOT"]
    (project.directory / "build/x.root.owners").write_text("")
    assert _steps(project.run(lines)) == ["ROOT"]
    assert "is up to date" in project.run(lines)
    project.run(lines, "-c")
    assert sorted(os.listdir(project.directory / "build")) == []


def test_traces_by_hand_are_of_the_sysroot(project: Project, base: Path) -> None:
    (project.directory / "hand.strace").write_text(
        'execve("/opt/hello", ["hello"], 0x7ffd /* 2 vars */) = 0\n'
        'openat(AT_FDCWD, "/opt/data", O_RDONLY) = 3\n+++ exited with 0 +++\n'
    )

    project.run(
        f"root = env.Sysroot('x', directory='{base}')\n"
        "ldd = env.Ldd('hello', '/opt/hello', ROOT=root)\n"
        "env.FileList('hello', ['hand.strace', ldd], ROOT=root)\n"
    )

    listed = (project.directory / "hello.files").read_text()
    assert "/opt/data run:hand\n" in listed
    assert " /lib64/libc.so.6 " in listed


def test_directory_that_appears_where_a_file_is_staged(project: Project, base: Path) -> None:
    lines = _image(project, "directory='base'").replace(
        "'/opt/hello'", "{'/opt/x': 'base/opt/hello'}"
    )
    project.run(lines)
    (base / "opt/x").mkdir()

    output = project.run(lines, status=2)

    assert _mistake(output) == (
        "scons: *** [build/hello.ldd] cannot stage /opt/x: there is a directory; stage it elsewhere"
    )
    (base / "opt/x").rmdir()
    assert "is up to date" in project.run(lines)


STAGED = """
env.ScratchImage("x", {"/usr/bin/x": "/bin/true", "/srv/x": "given"})
"""


def test_staged_file_that_is_not_there(project: Project) -> None:
    mistake = _mistake(project.run(STAGED, status=2))

    assert mistake.endswith(
        f"cannot stage /srv/x: {project.directory}/given does not exist; build it, or name another "
        "file"
    )
    (project.directory / "given").symlink_to("other")
    assert _mistake(project.run(STAGED, status=2)).endswith(
        "cannot stage /srv/x: it is a link to other, which is not there; stage that, too"
    )
    (project.directory / "given").unlink()
    (project.directory / "given").write_text("")
    project.run(STAGED)


SYSROOTS = [
    pytest.param("env.Sysroot('x')\n",
                 "cannot make sysroot x: it is to be made of one thing; give a tar, directory=, packages= or image=",
                 id="of nothing"),
    pytest.param("env.Sysroot('x', 'x.tar', directory='y')\n",
                 "cannot make sysroot x: it is to be made of one thing; give a tar, directory=, packages= or image=",
                 id="of two things"),
    pytest.param("env.Sysroot('x', packages='dash')\n",
                 "cannot make sysroot of packages: '' is no suite; correct it", id="no suite"),
    pytest.param("env.Sysroot('x', 'rootfs.zip')\n",
                 "cannot use tar rootfs.zip: its suffix tells no compression; ", id="other archive"),
    pytest.param("env.Sysroot('x', directory='SConstruct')\n",
                 "cannot use sysroot SConstruct: it is of another kind; name a directory, or the tar of one as source",
                 id="file for a directory"),
    pytest.param("env.Dir('y'); env.Sysroot('x', packages='dash', suite='s', lock='y')\n",
                 "cannot use lock y: it is of another kind; name a file", id="directory for a lock"),
    pytest.param("env.ScratchImage('x', '/usr/bin')\n",
                 "cannot make an image of /usr/bin: it is a directory; name a program",
                 id="directory for a program"),
    pytest.param("env.ScratchImage('x', '/bin/true', RUN='true')\n",
                 "cannot use RUN: an image may have several; write RUNS=[...]", id="RUN"),
    pytest.param("env.Ldd('x', '/bin/true', ROOT='/srv')\n",
                 "cannot use ROOT '/srv': it is no sysroot; give what Sysroot returns", id="ROOT is no sysroot"),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "message"), SYSROOTS)
def test_mistaken_sysroot(project: Project, lines: str, message: str) -> None:
    assert f"SConstruct:3: {message}" in _mistake(project.run(lines, status=2))


BAD_SYSROOTS = [
    pytest.param("directory='/nonexistent'",
                 "cannot use sysroot /nonexistent: No such file or directory; ", id="no directory"),
    pytest.param("'none.tar'", "Source `none.tar' not found", id="no tar"),
    pytest.param("image='x'", "cannot reach engine at unix:///nonexistent/docker.sock: ", id="no engine"),
    pytest.param("packages='dash', suite='bookworm', lock='hello.extra'",
                 "cannot read lock hello.extra: it is not one; ", id="no lock"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), BAD_SYSROOTS)
def test_sysroot_that_cannot_be_made(project: Project, arguments: str, message: str) -> None:
    (project.directory / "build").mkdir()

    output = project.run(_image(project, arguments), status=2)

    assert message in _mistake(output)
    assert os.listdir(project.directory / "build") == []


# Where runs happen

VIEW = """
env.ScratchImage("x", "/bin/sh", RUNS=[["sh", "-c", "echo x > {made}"], "sh -c true"], {view})
"""


def test_run_changes_nothing_of_the_machine_unless_it_is_to(project: Project) -> None:
    made = project.directory / "made"

    for view in ("", "TRACE_ROOT='private'"):
        project.run(VIEW.format(made=made, view=view), "x.1.strace")
        assert not made.exists()
    output = project.run(VIEW.format(made=made, view="TRACE_ROOT='plain'"), "x.1.strace")
    assert made.exists()
    assert "trace: " not in output


def _refused(project: Project, sconstruct: str, *targets: str) -> str:
    """Return what SCons prints where no process gets a root of its own."""
    (project.directory / "SConstruct").write_text(project.head + sconstruct)
    ran = subprocess.run(
        [*WITHOUT_NAMESPACES, *project.scons.command(), "-j2", "-Q", *targets],
        cwd=project.directory,
        env={**os.environ, "PYTHONPATH": project.scons.path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return ran.stdout


REFUSAL = (
    "cannot give a process a root of its own: unshare: unshare failed: No space left on device; "
)


def test_refused_private_root_is_told_once(project: Project) -> None:
    made = project.directory / "made"

    lines = _refused(
        project, VIEW.format(made=made, view=""), "x.1.strace", "x.2.strace"
    ).splitlines()

    assert made.exists()
    [told] = [line for line in lines if line.startswith("trace: ")]
    assert told.startswith(f"trace: runs see and change the machine's own files: {REFUSAL}")
    assert told.endswith(", or set TRACE_ROOT=plain")
    assert len(lines) == 3


def test_run_that_fails_in_a_plain_root_is_told_that_it_is_plain(project: Project) -> None:
    sconstruct = "env.ScratchImage('x', '/bin/sh', RUNS=['sh -c \"exit 3\"'])\n"

    lines = _refused(project, sconstruct, "x.strace").splitlines()

    assert lines[0].startswith("scons: *** [x.strace] cannot trace run default: ")
    assert lines[0].endswith(
        "; install what it lacks, set TRACE_ROOT=private if that is staged, correct the run, or let "
        "it expect that"
    )
    assert lines[1].startswith(f"trace: runs see and change the machine's own files: {REFUSAL}")
    assert len(lines) == 2


def test_refused_private_root_is_an_error_where_it_has_to_be(project: Project) -> None:
    made = project.directory / "made"

    sconstruct = VIEW.format(made=made, view="TRACE_ROOT='private'")
    line = _mistake(_refused(project, sconstruct, "x.1.strace"))

    assert not made.exists()
    assert line.startswith(f"scons: *** [x.1.strace] {REFUSAL}")
    assert line.endswith(", or set TRACE_ROOT=plain")


def test_sysroot_needs_private_roots(project: Project, base: Path) -> None:
    lines = _image(project, f"directory='{base}'").replace("RUNS=[]", "RUNS=['hello', 'hello']")

    line = _mistake(_refused(project, lines, "build/hello.1.strace"))

    assert line.startswith(f"scons: *** [build/hello.1.strace] {REFUSAL}")
    assert line.endswith(", or set RUNS=[] and list the files of the sysroot")


def test_plain_runs_are_not_traced_in_a_sysroot(project: Project, base: Path) -> None:
    lines = _image(project, f"directory='{base}'").replace(
        "RUNS=[]", "RUNS=['hello'], TRACE_ROOT='plain'"
    )

    assert f"its root is {base}" in _mistake(project.run(lines, status=2))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_disk_that_is_too_small_for_a_sysroot(project: Project, base: Path) -> None:
    subprocess.run(["tar", "-cf", project.directory / "rootfs.tar", "-C", base, "."], check=True)
    small = project.directory / "build"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "none", small], check=True)
    try:
        output = project.run(_image(project, "'rootfs.tar'"), status=2)
        left = os.listdir(small)
    finally:
        subprocess.run(["umount", small], check=True)

    assert _mistake(output) == (
        "scons: *** [build/x.sysroot] cannot write build/x.sysroot: No space left on device; "
        "free some space and build again"
    )
    assert left == []


# What an image has otherwise than the machine

LOOKUP = r"""
#include <pwd.h>
#include <stdio.h>
int main(void) {
    struct passwd *found = getpwnam("www-data");
    puts(found ? "found" : "unknown");
    return 0;
}
"""


def test_account_that_a_run_looks_up_is_told_and_can_be_mapped(
    tmp_path: Path, newest: Scons
) -> None:
    project = Project(tmp_path, newest)
    project.compile("lookup", LOOKUP)
    image = 'env.ScratchImage("out/x", {"/usr/bin/lookup": "lookup"}, EXTRA_FILES="x.extra")'
    (tmp_path / "x.extra").write_text("")

    output = project.run(image, "out/x.tested", status=2)

    assert re.search(
        "^lint: a run read /etc/passwd, which the image has with root, nobody only; map a file "
        r"with all accounts that it looks up \(passwd -> /etc/passwd\), or name the preset ",
        output,
        re.MULTILINE,
    )
    assert "it printed 'unknown', on the machine 'found'" in output, output

    (tmp_path / "x.extra").write_text("passwd -> /etc/passwd\n")
    (tmp_path / "passwd").write_text("www-data:x:33:33::/:/sbin/nologin\n")
    output = project.run(image, "out/x.tested")
    assert "lint: a run read" not in output
    assert re.search("^TEST   x +default in a root of its own", output, re.MULTILINE)


SHOW = r"""
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
int main(void) {
    char text[9];
    int file = open(PLACE "/deep/conf", O_RDONLY);
    if (file < 0) { perror("conf"); return 1; }
    DIR *directory = opendir(PLACE "/listed");
    puts(directory && readdir(directory) ? "listed" : "not listed");
    fflush(stdout);
    return write(1, text, read(file, text, 9)) < 0;
}
"""


def test_user_who_may_not_read_what_a_run_read(tmp_path: Path, newest: Scons, engine: str) -> None:
    """Each line that the message tells is followed, until the image does what the run did."""
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    project, place = Project(tmp_path / "project", newest, engine), tmp_path / "place"
    for directory in (project.directory, place / "deep", place / "listed"):
        directory.mkdir(parents=True)
    (place / "deep/conf").write_text("secret\n")
    tmp_path.chmod(0o755)
    modes = {"deep": 0o700, "listed": 0o711, "deep/conf": 0o040}
    for name, mode in modes.items():
        (place / name).chmod(mode)
    project.compile("show", SHOW, f'-DPLACE="{place}"')
    image = (
        'env.ScratchImage("out/x", {"/usr/bin/show": "show"}, EXTRA_FILES="x.extra",'
        ' IMAGE_USER="1000:7", IMAGE_TAG="permissions")'
    )

    lines: list[str] = []
    extra = project.directory / "x.extra"
    while len(lines) < len(modes):
        extra.write_text("".join(lines))
        error = _mistake(project.run(image, status=2))
        hint = re.search("; add to an extra list: (.*), or leave it out: !", error)
        assert hint, error
        lines.append(hint[1] + "\n")
    extra.write_text("".join(lines))
    project.run(image)

    assert lines == [
        f"dir {place}/deep mode=0700 owner=1000:7\n",
        f"{place}/deep/conf mode=0044\n",
        f"dir {place}/listed mode=0711 owner=1000:7\n",
    ]
    command = ["docker", "-H", engine, "run", "--rm", "--network=none", "permissions"]
    assert subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout == b"listed\nsecret\n"


def _make_special(tree: Path) -> None:
    """Make a directory of files that no image has, and of one that is more than its mode."""
    (tree / "sub").mkdir(parents=True)
    (tree / "sub/data").write_text("data")
    os.mkfifo(tree / "sub/fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tree / "socket"))
    shutil.copy("/bin/true", tree / "true")
    (tree / "true").chmod(0o4755)


def test_special_files_of_listed_directories_are_told(tmp_path: Path, newest: Scons) -> None:
    project, tree = Project(tmp_path / "project", newest), tmp_path / "special"
    project.directory.mkdir()
    extra = project.directory / "x.extra"
    _make_special(tree)
    image = 'env.ScratchImage("out/x", "/bin/true", EXTRA_FILES="x.extra", RUNS=[])'
    extra.write_text(f"{tree}\n{tree}/sub -> /srv\n")

    output = project.run(image, "out/x.tar", "out/x.report.html")

    told = (
        f"no image has devices, FIFOs and sockets: /srv/fifo, {tree}/socket, {tree}/sub/fifo; "
        f"leave them out of the list (!/srv/fifo)"
    )
    set_id = (
        f"set-id files come into the image: {tree}/true; list {tree}/true mode=0755, or mode=4755 "
        f"to keep it, or leave it out (!{tree}/true)"
    )
    assert f"lint: {told}\nlint: {set_id}\n" in output
    assert told in (project.directory / "out/x.report.html").read_text()

    hints = f"!/srv/fifo\n!{tree}/**/fifo\n!{tree}/socket\n{tree}/true mode=0755\n"
    extra.write_text(f"{tree}\n{tree}/sub -> /srv\n{hints}")
    assert "lint: " not in project.run(image, "out/x.tar")
