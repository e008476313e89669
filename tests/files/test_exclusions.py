from __future__ import annotations

import os
from pathlib import Path

import pytest
from lists import list_lines
from scratch_image.files.exclusions import is_of_interpreter
from scratch_image.files.request import Request


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(b"/etc/hosts", id="file of the runtime"),
        pytest.param(b"/proc/self/maps", id="kernel tree"),
        pytest.param(b"/dev", id="kernel tree itself"),
        pytest.param(b"/", id="root"),
        pytest.param(b"/run/fifo", id="FIFO that a run used"),
        pytest.param(b"/data/gone", id="vanished and only looked at"),
    ],
)
def test_what_an_image_does_not_hold_is_left_out(base: Path, path: bytes) -> None:
    kernel = Path(os.fsdecode(os.fsencode(base) + path))
    if path.startswith(b"/proc"):
        kernel.parent.mkdir(parents=True)
        kernel.write_text("")

    found = list_lines(base, Request(path, "run:1", required=False))

    assert not any(line.startswith(("file", "link")) for line in found)
    assert not any(f" {path.decode()} " in line for line in found)


@pytest.mark.parametrize(
    "path",
    [
        "var/log/app/access.log",
        "run/app.pid",
        "var/lib/dbus/machine-id",
        "var/lib/sss/mc/passwd",
        "usr/local/lib/python3.11/dist-packages/x.pth",
        "usr/local/lib/python3.11/dist-packages/sitecustomize.py",
        "usr/local/lib/python3.11/dist-packages/__pycache__/sitecustomize.cpython-311.pyc",
    ],
)
def test_noise_of_the_machine_stays_out_unless_it_is_asked_for(base: Path, path: str) -> None:
    (base / path).parent.mkdir(parents=True, exist_ok=True)
    (base / path).write_text("")
    image = os.fsencode("/" + path)

    assert list_lines(base, Request(image, "run:1")) == []
    assert list_lines(base, Request(image, "run:1"), Request(image, "extra:x"))[-1].startswith(
        "file "
    )


@pytest.mark.parametrize(
    "path", ["usr/lib/python3/dist-packages/x.pth", "usr/lib/python3.11/sitecustomize.py"]
)
def test_start_files_of_packages_stay(base: Path, path: str) -> None:
    (base / path).parent.mkdir(parents=True)
    (base / path).write_text("")

    assert list_lines(base, Request(os.fsencode("/" + path), "run:1"))[-1].startswith("file ")


def test_directory_of_logs_stays(base: Path) -> None:
    (base / "var/log/app").mkdir()

    assert list_lines(base, Request(b"/var/log/app", "run:1"))[-1] == "dir /var/log/app run:1"


@pytest.mark.parametrize(
    ("directory", "expected"),
    [
        ("/usr/lib/python3.11/json", True), ("/usr/lib/python3/dist-packages", True),
        ("/srv/venv/lib/python3.12/site-packages/x", True), ("/usr/share/perl/5.36/IO", True),
        ("/usr/lib/x86_64-linux-gnu/perl-base", True), ("/app/node_modules/x", True),
        ("/var/lib/gems/3.1.0/specifications", True),
        ("/usr/share/rubygems-integration/all/specifications", True), ("/opt/specifications", False),
        ("/usr/lib/php/20220829", False), ("/usr/lib/pythonic", False),
    ],
)  # fmt: skip
def test_directories_of_interpreters(directory: str, expected: bool) -> None:
    assert is_of_interpreter(directory.encode()) is expected
