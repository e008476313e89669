from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from examined import examine, write_elf
from scratch_image.files import siblings

CODERS = "/usr/lib/x86_64-linux-gnu/magick/coders"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name in ("png.so", "jpeg.so", "gif.so"):
        write_elf(tmp_path / CODERS[1:] / name)
    (tmp_path / CODERS[1:] / "png.la").write_text("")
    (tmp_path / CODERS[1:] / "sub").mkdir()
    (tmp_path / CODERS[1:] / "alias.so").symlink_to("gif.so")
    (tmp_path / CODERS[1:] / "dangling.so").symlink_to("nowhere")
    return tmp_path


LISTED = [
    pytest.param(f"{CODERS}/png.so", True, id="module"),
    pytest.param(f"{CODERS}/png.so run:1 needed-by:/prog", False, id="library by name"),
    pytest.param(f"{CODERS}/png.so needed-by:/prog", False, id="library that no run loaded"),
    pytest.param(f"{CODERS}/png.la", False, id="no module"),
    pytest.param("/usr/lib/x86_64-linux-gnu/libnss_x.so.2", False, id="directory of libraries"),
    pytest.param("/usr/lib/python3/dist-packages/x/y.so", False, id="extension module"),
]


@pytest.mark.parametrize(("listed", "is_found"), LISTED)
def test_directory_of_modules(base: Path, listed: str, is_found: bool) -> None:
    image = examine(base, listed)

    assert siblings.directories(image.view, image.entries) == [CODERS.encode()] * is_found
    assert [f"{each.rank} {each}" for each in siblings.find(image)] == [
        f"2 an input for another module of {CODERS}: runs loaded 1 of its 4; add the preset siblings"
    ] * is_found  # fmt: skip


def test_preset_brings_all_files_of_the_directory(base: Path) -> None:
    names = ("alias.so", "gif.so", "jpeg.so", "png.la", "png.so")
    image = examine(base, f"{CODERS}/png.so")

    found = siblings.paths(image.view, image.entries)

    assert found == [f"{CODERS}/{name}".encode() for name in names]
    assert [*siblings.find(examine(base, *(each.decode() for each in found)))] == []


def test_library_that_only_a_wrapper_finds_is_no_module(base: Path) -> None:
    program = base / "prog"
    _compile(base / "private/libx.so", "-shared")
    _compile(program, "-shared", str(base / "private/libx.so"))

    image = examine(base, "/private/libx.so", "/prog")

    assert siblings.directories(image.view, image.entries[:1]) == [b"/private"]
    assert siblings.directories(image.view, image.entries) == []


def _compile(made: Path, *flags: str) -> None:
    made.parent.mkdir(exist_ok=True)
    words = ["-nostdlib", "-fPIC", f"-Wl,-soname,{made.name}", "-Wl,--no-as-needed"]
    source = ["-x", "c", "/dev/null", "-x", "none"]
    subprocess.run(["gcc", *source, *words, "-o", made, *flags], check=True)


@pytest.mark.parametrize(
    ("listed", "is_found"),
    [
        pytest.param("", True, id="none"),
        pytest.param(f"{CODERS}/png.so", False, id="one, whose siblings have a finding"),
    ],
)
def test_modules_of_a_listed_library(base: Path, listed: str, is_found: bool) -> None:
    library, engine = "/usr/lib/x86_64-linux-gnu/libmagick.so.6", "/usr/lib/engines-3/a.so"
    write_elf(base / library[1:])
    info = base / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    (info.parent / "status").write_text(
        "Package: libmagick6\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n"
    )
    (info / "libmagick6.list").write_text(f"{library}\n{CODERS}/png.so\n{engine}\n")
    (info / "other.list").write_text("/usr/lib/other/a.so\n")
    image = examine(base, f"{library} needed-by:/prog", *([listed] if listed else []))

    assert [f"{each.rank} {each}" for each in siblings.find_unloaded(image)] == [
        f"3 an input for a module of a library: the image has none of {CODERS}; list {CODERS}"
    ] * is_found


def test_a_broken_database_has_no_modules(base: Path) -> None:
    write_elf(base / "usr/lib/liba.so")
    info = base / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    (info.parent / "status").write_text("Package: liba\nStatus: install ok installed\n")
    (info / "liba.list").write_text("/usr/lib/liba.so\n/usr/lib/liba/b.so\n")

    assert [*siblings.find_unloaded(examine(base, "/usr/lib/liba.so needed-by:/prog"))] == []
