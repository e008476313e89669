"""Differences between an image and the machine: accounts, owners, special files."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from lab import NO_ENGINE, Scons
from project import Project, mistake_line

LOOKUP = r"""
#include <pwd.h>
#include <stdio.h>
int main(void) {
    char name[] = "www+data";  // The file holds no such account.
    name[3] = '-';
    struct passwd *found = getpwnam(name);
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
        "^lint: the name of another account: a run read /etc/passwd, which the image has with "
        "root, nobody only; map a file with all accounts that /usr/bin/lookup looks up "
        r"\(passwd -> /etc/passwd\), or name the preset ",
        output,
        re.MULTILINE,
    )
    assert "it printed 'unknown', on the machine 'found'" in output, output

    (tmp_path / "x.extra").write_text("passwd -> /etc/passwd\n")
    (tmp_path / "passwd").write_text("www-data:x:33:33::/:/sbin/nologin\n")
    output = project.run(image, "out/x.tested")
    assert "lint: the name" not in output
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
        error = mistake_line(project.run(image, status=2))
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
    output = project.run(image, "out/x.tar")
    assert "lint: no image" not in output
    assert "lint: set-id" not in output
