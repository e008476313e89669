from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from scratch_image.errors import ElfError
from scratch_image.files import dependencies
from scratch_image.files.entry import Entry
from scratch_image.files.finding import Rank
from scratch_image.files.merge import merge
from scratch_image.files.request import Request
from scratch_image.fs.overlay import Overlay
from scratch_image.fs.root import Aspect, Root

_RPATH = ("-Wl,--disable-new-dtags", "-Wl,-rpath,$ORIGIN/wheel.libs")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a plugin that needs a library beside it, and one whose library is gone."""
    world = tmp_path_factory.mktemp("needs")
    _library(world / "libdep.so")
    _library(world / "libgone.so")
    _library(world / "plugin.so", f"-L{world}", "-ldep", "-Wl,-rpath,$ORIGIN")
    _library(world / "broken.so", f"-L{world}", "-lgone")
    (world / "libgone.so").unlink()
    libraries = world / "wheel.libs"
    libraries.mkdir()
    _library(libraries / "libinner.so")
    _library(libraries / "libouter.so", f"-L{libraries}", "-linner")
    _library(world / "wheel.so", f"-L{libraries}", "-louter", *_RPATH)
    _library(world / "theirs.so", f"-L{libraries}", "-linner")
    _program(world / "host", *_RPATH)
    (world / "script").write_text("#!/bin/sh\n")
    (world / "lost").write_text("#!/nonexistent/interpreter\n")
    (world / "data").write_text("data")
    for name in ("script", "lost"):
        (world / name).chmod(0o755)
    return world


def _library(made: Path, *flags: str) -> None:
    loose = ("-Wl,--no-as-needed", "-Wl,--allow-shlib-undefined")
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-nostdlib", "-x", "c", "/dev/null", "-x", "none",
         f"-Wl,-soname,{made.name}", *loose, "-o", made, *flags],
        check=True,
    )  # fmt: skip


def _program(made: Path, *flags: str) -> None:
    command = ["gcc", "-x", "c", "-", "-o", str(made), *flags]
    subprocess.run(command, input=b"int main(void) { return 0; }", check=True)


def _find(
    world: Path, name: str, reason: str = "extra:x", named: bool = False
) -> dependencies.Dependencies:
    path = os.fsencode(world / name)
    view = Overlay(Root(), os.fsencode(world))
    entries = merge(view, [Request(path, reason)])
    return dependencies.find(view, entries, (), [path] if named else (), {})


def test_plugin_brings_its_libraries(world: Path) -> None:
    found = _find(world, "plugin.so")

    user = os.fsdecode(world / "plugin.so")
    assert found.requests == (Request(os.fsencode(world / "libdep.so"), f"needed-by:{user}"),)
    assert found.findings == ()


def test_script_brings_its_interpreter_and_that_ones_libraries(world: Path) -> None:
    found = _find(world, "script")

    wants = {want.path: want.reason for want in found.requests}
    assert wants[b"/bin/sh"] == f"interpreter-of:{world}/script"
    assert wants[b"/lib64/ld-linux-x86-64.so.2"] == "loader-of:/bin/sh"
    assert any(path.endswith(b"/libc.so.6") for path in wants)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("data", "extra:x", id="data"),
        pytest.param("script", "run:default", id="script that a run read"),
    ],
)
def test_what_needs_nothing(world: Path, name: str, reason: str) -> None:
    assert _find(world, name, reason) == dependencies.Dependencies((), ())


def test_script_without_x_bit_needs_nothing(world: Path, tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")

    assert _find(tmp_path, "script") == dependencies.Dependencies((), ())


def test_covered_and_generated_files_are_passed_by(world: Path) -> None:
    path = os.fsencode(world / "broken.so")
    view = Overlay(Root(), b"/nonexistent")
    text = Entry("file", 0o755, 0, 0, b"/x", text=b"#!/bin/sh\n")

    assert (
        dependencies.find(
            view, [Entry("file", 0o755, 0, 0, path), text], {path}, {path}, {}
        ).requests
        == ()
    )


@pytest.mark.parametrize("name", ["broken.so", "lost"])
def test_missing_is_a_finding_where_nobody_named_the_file(world: Path, name: str) -> None:
    [finding] = _find(world, name).findings

    assert finding.rank is Rank.BROKEN
    assert str(finding).startswith(f"the use of {world}/{name}: ")


def test_missing_library_of_a_named_file_is_an_error(world: Path) -> None:
    with pytest.raises(ElfError) as error:
        _find(world, "broken.so", named=True)

    assert f"cannot find libgone.so: {world}/broken.so needs libgone.so" in str(error.value)


def test_what_a_closure_has_is_not_asked_again(world: Path) -> None:
    view = Overlay(Root(), os.fsencode(world))
    entries = merge(view, [Request(b"/usr/bin/sed", "run:1")])
    libraries = merge(view, dependencies.find(view, entries, (), (), {}).requests)

    found = dependencies.find(view, [*entries, *libraries], (), (), {})

    assert found == dependencies.find(view, entries, (), (), {})


def test_library_that_is_listed_anyway_is_not_missing(world: Path) -> None:
    view = Overlay(Root(), os.fsencode(world))
    view.place_source(b"/opt/libgone.so", b"libdep.so")
    wants = [
        Request(os.fsencode(world / "broken.so"), "run:1"),
        Request(b"/opt/libgone.so", "extra:x"),
    ]

    assert dependencies.find(view, merge(view, wants), (), (), {}).findings == ()


def test_library_is_searched_where_the_file_is_that_loads_it(world: Path) -> None:
    """Only the extension module of a wheel names the directory of the wheel's libraries."""
    view = Overlay(Root(), os.fsencode(world))
    names = ("wheel.libs/libinner.so", "wheel.libs/libouter.so", "wheel.so")
    wheel = [os.fsencode(world / name) for name in names]
    entries = merge(view, [Request(path, "extra:x") for path in wheel])

    found = dependencies.find(view, entries, (), wheel, {})

    assert found.findings == ()
    assert {os.path.realpath(request.path) for request in found.requests} == {*wheel[:2]}


def test_library_is_searched_as_the_images_program_does(world: Path) -> None:
    view = Overlay(Root(), os.fsencode(world))
    plugin, host = os.fsencode(world / "theirs.so"), os.fsencode(world / "host")
    entries = merge(view, [Request(plugin, "extra:x")])

    with pytest.raises(ElfError, match=r"libinner\.so"):
        dependencies.find(view, entries, (), [plugin], {})
    found = dependencies.find(view, entries, (), [plugin], {}, [host])

    path = os.fsencode(world / "wheel.libs/libinner.so")
    assert found.requests == (Request(path, f"needed-by:{os.fsdecode(plugin)}"),)


def test_library_is_searched_from_the_link_that_a_program_opens(
    world: Path, tmp_path: Path
) -> None:
    shutil.copy(world / "plugin.so", tmp_path)
    (tmp_path / "enabled").mkdir()
    (tmp_path / "enabled/plugin.so").symlink_to("../plugin.so")
    shutil.copy(world / "libdep.so", tmp_path / "enabled")
    link = os.fsencode(tmp_path / "enabled/plugin.so")
    view = Overlay(Root(), os.fsencode(tmp_path))
    entries = merge(view, [Request(link, "extra:x")])

    found = dependencies.find(view, entries, (), [os.fsencode(tmp_path / "plugin.so")], {})

    path = os.fsencode(tmp_path / "enabled/libdep.so")
    assert found.requests == (Request(path, f"needed-by:{os.fsdecode(link)}"),)


def test_content_of_data_is_not_on_record(world: Path) -> None:
    path = os.fsencode(world / "data")
    view = Overlay(Root(), os.fsencode(world))

    dependencies.find(view, merge(view, [Request(path, "extra:x")]), (), (), {})

    assert (path, Aspect.MAGIC) in view.looked
    assert (path, Aspect.CONTENT) not in view.looked
