"""Accounts of an image: those that it needs stay, and edits rebuild the least."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from lab import Scons
from project import Project
from scratch_image.files.entry import read_entries

SCONSTRUCT = """\
env.ScratchImage(
    "build/app",
    {"/usr/bin/app": "app", "/etc/app.conf": "app.conf"},
    RUNS=["app -u games"],
    IMAGE_PACKAGES=False,
)
"""

EDITS = [
    pytest.param("app.conf", "user www-data;\n", "LIST TAR IMAGE", "www-data", id="account"),
    pytest.param("app.conf", "user www-data;\nport 80;\n", "TAR IMAGE", "www-data",
                 id="other settings"),
    pytest.param("app.conf", "# user www-data;\n", "LIST TAR IMAGE", "", id="no account"),
    pytest.param("SConstruct", SCONSTRUCT.replace("games", "mail"), "TRACE LIST TAR IMAGE", "mail",
                 id="account of a command"),
]  # fmt: skip


@pytest.mark.parametrize("scons", ["newest"], indirect=True)
@pytest.mark.parametrize("jobs", ["-j1", "-j8"])
def test_edit_of_accounts_rebuilds_the_least(tmp_path: Path, scons: Scons, jobs: str) -> None:
    project = Project(tmp_path, scons)
    (tmp_path / "app").write_text("#!/bin/sh\nread -r line < /etc/passwd\n")
    (tmp_path / "app").chmod(0o755)
    (tmp_path / "app.conf").write_text("\n")
    sconstruct = SCONSTRUCT
    project.run(sconstruct, "-Q", jobs)

    for edit in EDITS:
        name, text, steps, account = edit.values
        if name == "SConstruct":
            sconstruct = str(text)
        else:
            (tmp_path / str(name)).write_text(str(text))
        printed = project.run(sconstruct, "-Q", jobs)
        assert re.findall(r"^([A-Z]+) ", printed, re.MULTILINE) == str(steps).split(), edit.id
        assert str(account) in _accounts(tmp_path), edit.id
        assert "LIST" not in project.run(sconstruct, "-Q", jobs)


def _accounts(directory: Path) -> list[str]:
    text = (directory / "build/app.files").read_bytes()
    (entry,) = (each for each in read_entries(text, "app") if each.path == b"/etc/passwd")
    return [line.split(":")[0] for line in entry.text.decode().splitlines()] + [""]


@pytest.mark.skipif(shutil.which("sshd") is None, reason="no sshd: apt-get install openssh-server")
@pytest.mark.skipif(os.geteuid() != 0, reason="sshd has to be started by root")
@pytest.mark.parametrize("scons", ["newest"], indirect=True)
def test_sshd_finds_its_account_in_its_image(tmp_path: Path, scons: Scons) -> None:
    (tmp_path / "keep").touch()
    project = Project(tmp_path, scons)

    printed = project.run(
        "env.Command('key', [], 'ssh-keygen -q -t ed25519 -N \"\" -f $TARGET')\n"
        "from scratch_image import Staged\n"
        "env.ScratchImage('build/sshd', {\n"
        f"    '/usr/sbin/sshd': {shutil.which('sshd')!r}, '/etc/key': Staged('key', mode=0o600),\n"
        "    '/run/sshd/.keep': 'keep',\n"
        "}, RUNS=['sshd -T -f /dev/null -h /etc/key'], IMAGE_ALLOW='/etc/key')\n",
        "-Q",
        "build/sshd.tested",
    )

    assert re.search("LIST .* accounts root, sshd, nobody", printed)
    assert "TEST   sshd" in printed
