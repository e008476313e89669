from __future__ import annotations

import os
import py_compile
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from scratch_image.files import bytecode
from scratch_image.files.entry import Entry, write_entries
from scratch_image.fs.overlay import Overlay
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem
from scratch_image.image import layer_stack
from scratch_image.scons import footprint
from scratch_image.scons.steps.layer_stack import StackStep
from scratch_image.scons.steps.layer_tar import LayerStep

EPOCH = 1_700_000_000
NEWER = EPOCH + 28 * 86400
"""Four weeks after the release."""

Edit = Callable[[Path], object]

DIRECTORIES = [Entry("dir", 0o755, 0, 0, path) for path in (b"/", b"/app", b"/app/__pycache__")]


def _module(directory: Path, mtime: int = NEWER) -> Path:
    """Make a module in `directory`, and what Python compiles of it; return the source."""
    (directory / "app").mkdir(parents=True)
    source = directory / "app/mod.py"
    source.write_text("print('hello')\n")
    os.utime(source, (mtime, mtime))
    _compile(source)
    return source


def _compile(source: Path, mode: str = "TIMESTAMP", optimize: int = -1) -> Path:
    invalidation = py_compile.PycInvalidationMode[mode]
    made = py_compile.compile(str(source), invalidation_mode=invalidation, optimize=optimize)
    assert made
    return Path(made)


def _entries(source: Path) -> list[Entry]:
    """Return the list of all that there is of a module."""
    paths = [source, *sorted((source.parent / "__pycache__").iterdir())]
    top = source.parents[1]
    files = [
        Entry("file", 0o644, 0, 0, b"/" + os.fsencode(path.relative_to(top))) for path in paths
    ]
    return [*DIRECTORIES, *files]


def _loaded(directory: Path, name: str = "app") -> str:
    """Return what Python says of the compiled file when it loads the module in `directory`."""
    ran = subprocess.run(
        [sys.executable, "-v", "-B", "-c", "import mod"],
        env={"PYTHONPATH": str(directory / name)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "hello\n"
    told = [line for line in ran.stderr.splitlines() if "mod.py" in line or "'mod'" in line]
    return "matches" if any(" matches " in line for line in told) else "stale"


def _unpacked(layers: list[bytes], directory: Path) -> Path:
    directory.mkdir()
    for path in layers:
        subprocess.run(["tar", "-xf", path, "-C", directory], check=True)
    return directory


@pytest.fixture(params=["layer", "stack"])
def packed(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Path]:
    """Give what packs entries of a base and returns where they lie unpacked."""

    def pack(base: Path, entries: list[Entry]) -> Path:
        listing, top = tmp_path / "x.files", os.fsencode(tmp_path)
        root = Root(WatchedFileSystem(os.fsencode(base), epoch=EPOCH, own=top))
        listing.write_bytes(write_entries(entries))
        target = os.fsencode(tmp_path / ("x.tar" if request.param == "layer" else "x.layers"))
        if request.param == "layer":
            LayerStep("x", "none", top).run(root, [target], [os.fsencode(listing)])
        else:
            StackStep("x", ".tar", "none", top).run(root, [target], [os.fsencode(listing)])
        shutil.rmtree(tmp_path / "unpacked", ignore_errors=True)
        return _unpacked([*layer_stack.files(target)], tmp_path / "unpacked")

    return pack


def test_python_takes_the_compiled_file_of_a_source_newer_than_the_epoch(
    tmp_path: Path, packed: Callable[..., Path]
) -> None:
    source = _module(tmp_path / "base")
    assert _loaded(tmp_path / "base") == "matches"

    assert _loaded(packed(tmp_path / "base", _entries(source))) == "matches"


def test_python_takes_that_of_a_mapped_source(tmp_path: Path, packed: Callable[..., Path]) -> None:
    source = _module(tmp_path / "lib", mtime=EPOCH - 5)
    (tmp_path / "base").mkdir()
    mapped = [
        Entry(each.kind, each.mode, 0, 0, each.path, source=b"lib" + each.path)
        if each.kind == "file"
        else each
        for each in _entries(source)
    ]

    assert _loaded(packed(tmp_path / "base", mapped)) == "matches"


@pytest.mark.parametrize("mtime", [NEWER, EPOCH - 5], ids=["newer", "older"])
def test_another_name_of_a_source_keeps_its_time(
    tmp_path: Path, packed: Callable[..., Path], mtime: int
) -> None:
    source = _module(tmp_path / "base", mtime)
    entries = [*_entries(source), Entry("hard", 0o644, 0, 0, b"/app/x.py", b"/app/mod.py")]

    unpacked = packed(tmp_path / "base", entries)

    assert (unpacked / "app/x.py").stat().st_mtime == mtime
    assert _loaded(unpacked) == "matches"


def _swap_names(base: Path) -> None:
    """Have an optimized file that is stale beside the one that is not."""
    stale = _compile(base / "app/mod.py", optimize=1)
    stale.write_bytes(stale.read_bytes()[:8] + bytes(8) + stale.read_bytes()[16:])


@pytest.mark.parametrize(
    ("edit", "mtime"),
    [
        pytest.param(lambda _: None, NEWER, id="named"),
        pytest.param(lambda base: os.utime(base / "app/mod.py", (NEWER + 9, NEWER + 9)), EPOCH,
                     id="source touched since"),
        pytest.param(lambda base: (base / "app/mod.py").write_text("#"), EPOCH,
                     id="source edited since"),
        pytest.param(lambda base: _compile(base / "app/mod.py", "UNCHECKED_HASH"), EPOCH,
                     id="compiled file names no time"),
        pytest.param(lambda base: _compiled(base).write_bytes(b"\0" * 9), EPOCH, id="cut short"),
        pytest.param(lambda base: _compiled(base).rename(base / "app/__pycache__/mod.pyc"), EPOCH,
                     id="other name"),
        pytest.param(lambda base: _compiled(base).unlink(), EPOCH, id="not compiled"),
        pytest.param(_swap_names, NEWER, id="named by one of two"),
    ],
)  # fmt: skip
def test_time_is_kept_only_where_a_compiled_file_names_it(
    tmp_path: Path, edit: Edit, mtime: int
) -> None:
    source = _module(tmp_path)
    edit(tmp_path)
    view = Overlay(Root(WatchedFileSystem(os.fsencode(tmp_path), epoch=EPOCH)), b"/project")

    bytecode.date_sources(view, _entries(source))

    status = view.files.status(b"/app/mod.py")
    assert status is not None
    assert status.mtime == mtime


def _compiled(base: Path) -> Path:
    return next((base / "app/__pycache__").iterdir())


def _signature(base: Path, staged: dict[bytes, bytes]) -> list[str]:
    """Return what changes for the layer when the source in `base` is touched."""
    source = base / "app/mod.py"
    root = Root(WatchedFileSystem(b"/" if staged else os.fsencode(base), staged, epoch=EPOCH))
    bytecode.date_sources(Overlay(root, b"/project"), _entries(source))
    taken = footprint.take(root)
    os.utime(source, (NEWER + 9, NEWER + 9))
    return footprint.explain(taken, taken.again(root))


def test_touching_a_source_makes_its_layer_anew(tmp_path: Path) -> None:
    """It is what makes the .pyc file stale: a clean build would give the source another time."""
    _module(tmp_path)

    assert _signature(tmp_path, {}) == ["/app/mod.py: modification time changed"]


def test_touching_a_staged_source_makes_its_layer_anew(tmp_path: Path) -> None:
    source = _module(tmp_path)
    staged = {each.path: os.fsencode(tmp_path) + each.path for each in _entries(source)[3:]}

    assert _signature(tmp_path, staged) == ["/app/mod.py: modification time changed"]


def test_a_source_no_newer_than_the_epoch_is_not_looked_at(tmp_path: Path) -> None:
    source = _module(tmp_path, mtime=EPOCH)
    root = Root(WatchedFileSystem(os.fsencode(tmp_path), epoch=EPOCH))

    bytecode.date_sources(Overlay(root, b"/project"), _entries(source))

    assert {aspect for _, aspect in root.looked} & {Aspect.TIME, Aspect.CONTENT} == set()
