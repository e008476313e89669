from __future__ import annotations

import os
import shutil
from pathlib import Path

from scratch_image.fs.root import Root, WatchedFileSystem
from scratch_image.scons.steps.file_list import ListSource, ListStep
from scratch_image.scons.steps.layer_tar import LayerStep


def path_in(directory: Path, name: str) -> bytes:
    return os.fsencode(directory / name)


PROJECT = {
    "conf/app.conf": "conf",
    "x.extra": "include more/m.extra\nconf/app.conf -> /etc/app.conf\n!/etc/passwd\n/etc/passwd\n"
    "/etc/debian_version mode=0600\ndir /srv/none\nlink /srv/none/a -> b\n/etc/debian_*\n",
    "more/m.extra": "../plugin.so -> /opt/plugin.so\n",
}


def make_project(directory: Path) -> bytes:
    for name, text in PROJECT.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    shutil.copy("/bin/true", directory / "plugin.so")
    return os.fsencode(directory)


def list_of_two_sources(directory: Path) -> tuple[ListStep, list[bytes]]:
    """Return a list step and its sources: a record and an extra list."""
    (directory / "x.trace").write_text(
        "# scratch_image trace 1\nabsent /etc/nothing\nread /etc/passwd\nlist /usr/share\n"
    )
    (directory / "x.extra").write_text("!/etc/passwd\n/etc/debian_version -> /srv/debian\n")
    forms = (ListSource("record", "one"), ListSource("extra", "x.extra"))
    sources = [path_in(directory, "x.trace"), path_in(directory, "x.extra")]
    return ListStep("x", forms, os.fsencode(directory)), sources


def make_layer(directory: Path) -> bytes:
    (directory / "x.files").write_text(
        "# scratch_image file list 1\ndir 0755 0:0 /etc parent\nfile 0644 0:0 /etc/passwd run:1\n"
    )
    target = path_in(directory, "x.tar")
    LayerStep("x", "none", b"/").run(
        Root(WatchedFileSystem(epoch=7)), [target], [path_in(directory, "x.files")]
    )
    return target
