"""The builders from a user's side: failures of steps, and mistakes in SConscripts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from lab import Lab
from project import Project, mistake_line


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


@pytest.mark.parametrize(("spoil", "message"), BAD)
def test_bad_input_is_one_line_and_spoils_nothing(
    lab: Lab, spoil: Callable[[Lab], None], message: str
) -> None:
    lab.build()
    before = _tree(lab.out("").parent)
    spoil(lab)

    output = lab.build(status=2).output

    assert message.format(world=lab.world) in mistake_line(output)
    assert mistake_line(output).count(";") >= 1
    after = _tree(lab.out("").parent)
    assert {name: data for name, data in after.items() if name in before} == before
    assert not [name for name in after if name.endswith(".new")]
    # The mistake is not forgotten: without a fix, the next build says the same.
    assert mistake_line(lab.build(status=2).output) == mistake_line(output)


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

    assert "cannot trace" in mistake_line(output)
    left = subprocess.run(["pgrep", "-f", "sleep 1234.5"], capture_output=True, check=False)
    assert left.stdout == b""


def test_strace_that_is_missing(project: Project) -> None:
    output = project.run("env.Strace('x', '/bin/true', STRACE='no-strace')\n", status=2)

    assert "no-strace" in mistake_line(output)
    assert "apt-get install strace" in mistake_line(output)


def test_file_that_vanishes_between_list_and_tar(lab: Lab) -> None:
    lab.build()
    (lab.world / "extra1.txt").write_text("changed")
    text = lab.out(".files").read_text()
    (lab.world / "extra1.txt").unlink()
    sconstruct = lab.project / "SConstruct"
    sconstruct.write_text(sconstruct.read_text() + "env.LayerTar('again', 'again.files')\n")
    (lab.project / "again.files").write_text(text)

    output = lab.build("again.tar", status=2).output

    assert f"cannot pack {lab.world}/extra1.txt: it has gone; " in mistake_line(output)
    assert not (lab.project / "again.tar").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_full_disk(lab: Lab) -> None:
    small = lab.project / "build"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "none", small], check=True)
    try:
        output = lab.build(status=2).output

        line = mistake_line(output)
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

    assert mistake_line(told) == (
        "scons: *** [x.files] cannot read x.extra: Is a directory; name a file"
    )


def test_source_that_is_a_directory(project: Project) -> None:
    (project.directory / "x.extra").mkdir()

    told = project.run("env.FileList('x', env.Entry('x.extra'))\n", "x.files", status=2)

    assert mistake_line(told) == (
        "scons: *** SConstruct:3: cannot use 'x.extra' for x.files: it is a directory; name a file"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads all")
def test_file_that_nobody_named_and_cannot_be_read(project: Project) -> None:
    (project.directory / "data").mkdir(mode=0o300)
    (project.directory / "x.extra").write_text("data -> /data\n")

    told = project.run("env.FileList('x', 'x.extra')\n", "x.files", status=2)

    assert "make it readable by the user who runs scons" in mistake_line(told)


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
                     "SConstruct:3: cannot make an image of nothing: no file is staged; "
                     "stage the program",
                     id="stage of a directory"),
        pytest.param("env.ScratchImage('x', {'/x': '.'})",
                     "SConstruct:3: cannot make an image of nothing: no file is staged; "
                     "stage the program",
                     id="stage of the name of a directory"),
        pytest.param("env.ScratchImage('x', {'/x': []})",
                     "SConstruct:3: cannot stage [] at '/x': it is not one file or directory; "
                     "name one", id="stage of nothing"),
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
                     "SConstruct:3: cannot make bill of materials x.json: its suffix means no form; "
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

    assert mistake_line(output).startswith(f"scons: *** {message}")
    assert "File " not in output
