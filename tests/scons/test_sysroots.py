"""Images of sysroots: directories, tars and packages."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from debs import install
from packages import copy_programs
from project import NO_PRIVATE_ROOT, Project, mistake_line


@pytest.fixture
def base(project: Project) -> Path:
    """Make a directory of a program that the machine does not have, with all that it needs."""
    base = project.directory / "base"
    for name in ("lib64/ld-linux-x86-64.so.2", "lib/x86_64-linux-gnu/libc.so.6"):
        (base / name).parent.mkdir(parents=True)
        shutil.copy(f"/{name}", base / name)
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
        stream.write("/lib/x86_64-linux-gnu/libc.so.6\n")
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


PRESETS = ("ca-certificates", "locale", "nss", "passwd", "tmp", "tzdata")
OF_BASE = {
    "etc/ssl/certs/ca-certificates.crt": "certificates of the base",
    "usr/lib/locale/C.utf8/LC_CTYPE": "locale of the base",
    "etc/services": "base 1/tcp",
    "etc/passwd": "root:x:0:0:of the base:/root:/bin/sh\nbase:x:7:7::/:/bin/sh\n",
    "usr/share/zoneinfo/Europe/Base": "zone of the base",
}


def test_presets_bring_the_files_of_a_small_root(project: Project) -> None:
    copy_programs(project.directory / "small", ["/usr/bin/cat"])
    for name, text in OF_BASE.items():
        path = project.directory / "small" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    lines = (
        "root = env.Sysroot('build/x', directory='small')\n"
        f"env.ScratchImage('build/hello', '/bin/cat', ROOT=root, RUNS='cat /etc/services',\n"
        f"    IMAGE_PRESETS={PRESETS}, IMAGE_USER='base')\n"
    )

    project.run(lines, "build/hello.tar")

    written = ["etc/nsswitch.conf", "etc/passwd", "etc/group"]
    packed = {name: text for name, text in _layer(project).items() if name not in written}
    assert packed == {name: text for name, text in OF_BASE.items() if name not in written}
    accounts = _layer(project)["etc/passwd"]
    assert [line.split(":")[0] for line in accounts.splitlines()] == ["root", "base"]
    with tarfile.open(project.directory / "build/hello.tar") as tar:
        assert {"tmp", "var/tmp", "etc/nsswitch.conf"} <= {*tar.getnames()}
    assert "is up to date" in project.run(lines, "build/hello.tar")
    (project.directory / "small/usr/share/zoneinfo/Europe/Other").write_text("")
    assert _steps(project.run(lines, "build/hello.tar")) == ["LIST", "TAR"]


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
    assert " /lib/x86_64-linux-gnu/libc.so.6 " in listed


def test_directory_that_appears_where_a_file_is_staged(project: Project, base: Path) -> None:
    lines = _image(project, "directory='base'").replace(
        "'/opt/hello'", "{'/opt/x': 'base/opt/hello'}"
    )
    project.run(lines)
    (base / "opt/x").mkdir()

    output = project.run(lines, status=2)

    assert mistake_line(output) == (
        "scons: *** [build/hello.ldd] cannot stage /opt/x: there is a directory; stage it elsewhere"
    )
    (base / "opt/x").rmdir()
    assert "is up to date" in project.run(lines)


STAGED = """
env.ScratchImage("x", {"/usr/bin/x": "/bin/true", "/srv/x": "given"})
"""


def test_staged_file_that_is_not_there(project: Project) -> None:
    mistake = mistake_line(project.run(STAGED, status=2))

    assert mistake.endswith(
        f"cannot stage /srv/x: {project.directory}/given does not exist; build it, or name another "
        "file"
    )
    (project.directory / "given").symlink_to("other")
    assert mistake_line(project.run(STAGED, status=2)).endswith(
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
                 "cannot use tar rootfs.zip: its suffix means no compression; ", id="other archive"),
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
    assert f"SConstruct:3: {message}" in mistake_line(project.run(lines, status=2))


BAD_SYSROOTS = [
    pytest.param("directory='/nonexistent'",
                 "cannot use sysroot /nonexistent: No such file or directory; ", id="no directory"),
    pytest.param("'none.tar'", "Source `none.tar' not found", id="no tar"),
    pytest.param("image='x'", "cannot reach engine at unix:///nonexistent/docker.sock: ", id="no engine"),
    pytest.param("packages='dash', suite='bookworm', lock='hello.extra'",
                 "cannot read lock hello.extra: it is not a lock; ", id="no lock"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), BAD_SYSROOTS)
def test_sysroot_that_cannot_be_made(project: Project, arguments: str, message: str) -> None:
    (project.directory / "build").mkdir()

    output = project.run(_image(project, arguments), status=2)

    assert message in mistake_line(output)
    assert os.listdir(project.directory / "build") == []


def test_sysroot_needs_private_roots(project: Project, base: Path) -> None:
    lines = _image(project, f"directory='{base}'").replace("RUNS=[]", "RUNS=['hello', 'hello']")

    line = mistake_line(project.run_without_namespaces(lines, "build/hello.1.strace"))

    assert line.startswith(f"scons: *** [build/hello.1.strace] {NO_PRIVATE_ROOT}")
    assert line.endswith(", or set RUNS=[] and list the files of the sysroot")


def test_plain_runs_are_not_traced_in_a_sysroot(project: Project, base: Path) -> None:
    lines = _image(project, f"directory='{base}'").replace(
        "RUNS=[]", "RUNS=['hello'], TRACE_ROOT='plain'"
    )

    assert f"its root is {base}" in mistake_line(project.run(lines, status=2))


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

    assert mistake_line(output) == (
        "scons: *** [build/x.sysroot] cannot write build/x.sysroot: No space left on device; "
        "free some space and build again"
    )
    assert left == []
