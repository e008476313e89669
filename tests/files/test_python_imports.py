from __future__ import annotations

from pathlib import Path

import pytest
from examined import examine, write_elf
from scratch_image.files.imports import follow
from scratch_image.files.python_imports import PythonImports
from scratch_image.trace.record import Use, Used

LIB = "/usr/lib/python3.11"
DIST = "/usr/lib/python3/dist-packages"
FILES = {
    f"{LIB}/encodings/__init__.py": "",
    f"{LIB}/encodings/latin_1.py": "",
    f"{LIB}/json/__init__.py": "from .decoder import JSONDecoder\n",
    f"{LIB}/json/decoder.py": "from json import scanner\nimport _json\n",
    f"{LIB}/json/scanner.py": "def _test():\n    import doctest\n",
    f"{LIB}/doctest.py": "",
    f"{LIB}/shutil.py": "def f():\n    import bz2\nif __name__ == '__main__':\n    import this\n\nimport os\n",
    f"{LIB}/this.py": "",
    f"{LIB}/os.py": "",
    f"{LIB}/bz2.py": "",
    f"{DIST}/pkg/__init__.py": "",
    f"{DIST}/pkg/core.py": "from . import util, VERSION\nfrom .. import nothing\n",
    f"{DIST}/pkg/util.py": "",
    f"{DIST}/pkg/sub/deep.py": "from ..util import x\n",
    f"{DIST}/space/part/__init__.py": "",
    "/srv/helper.py": "",
}
PLACES = tuple(
    Used(Use.LIST, each.encode()) for each in (LIB, f"{LIB}/json", DIST, f"{DIST}/pkg", "/srv")
)
USES = (
    *PLACES,
    Used(Use.READ, f"{LIB}/encodings/__pycache__/__init__.cpython-311.pyc".encode()),
    Used(Use.READ, b"/srv/app.py"),
    Used(Use.READ, f"{DIST}/pkg/__main__.py".encode()),
)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name[1:]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name[1:]).write_text(text)
    write_elf(tmp_path / LIB[1:] / "lib-dynload/_json.cpython-311-x86_64-linux-gnu.so")
    return tmp_path


def _find(base: Path, source: str | bytes, *listed: str) -> list[str]:
    """Return the modules that a program imports, each as the end of its path."""
    text = source if isinstance(source, bytes) else source.encode()
    (base / "srv/app.py").write_bytes(text)
    image = examine(base, "/srv/app.py", *listed, uses=USES)
    graph = follow(image, PythonImports(image))
    names = [path.decode() for path in graph.modules if path != b"/srv/app.py"]
    return [name.removeprefix(f"{LIB}/").removeprefix(f"{DIST}/") for name in names]


JSON = [
    "json/__init__.py", "json/decoder.py", "json/scanner.py",
    "lib-dynload/_json.cpython-311-x86_64-linux-gnu.so",
]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        pytest.param("import json", JSON, id="package with an extension module"),
        pytest.param("import json as j, bz2", ["bz2.py", *JSON], id="two names"),
        pytest.param("def f():\n    import bz2\n", ["bz2.py"], id="in a function"),
        pytest.param("try: import bz2\nexcept ImportError: pass\n", ["bz2.py"], id="on one line"),
        pytest.param("x = 1; import bz2", ["bz2.py"], id="after a semicolon"),
        pytest.param("import \\\n  bz2", ["bz2.py"], id="continued line"),
        pytest.param("from pkg import (core,  # c\n  util,\n)\n",
                     ["pkg/__init__.py", "pkg/core.py", "pkg/util.py"], id="brackets"),
        pytest.param("from pkg.core import f", ["pkg/__init__.py", "pkg/core.py", "pkg/util.py"],
                     id="name in a module"),
        pytest.param("import pkg.sub.deep",
                     ["pkg/__init__.py", "pkg/sub/deep.py", "pkg/util.py"], id="relative"),
        pytest.param("import space.part", ["space/part/__init__.py"], id="namespace package"),
        pytest.param("from pkg import *", ["pkg/__init__.py"], id="star"),
        pytest.param("import helper", ["/srv/helper.py"], id="beside the program"),
        pytest.param("import importlib\nimportlib.import_module('bz2')", ["bz2.py"], id="by name"),
        pytest.param('"""\nimport bz2\n"""\n# import bz2\nx = "import bz2"\n', [], id="strings"),
        pytest.param("import shutil", ["bz2.py", "os.py", "shutil.py"], id="block of a program"),
        pytest.param("if __name__ == '__main__':\n    import this\n", ["this.py"],
                     id="block of the program itself"),
        pytest.param("if TYPE_CHECKING:\n    import bz2\n", ["bz2.py"], id="program with types"),
        pytest.param("import doctest", ["doctest.py"], id="module of developers"),
        pytest.param("print 'python 2'\nimport bz2\n", ["bz2.py"], id="another release"),
        pytest.param("import winreg, absent.x", [], id="absent"),
        pytest.param(b"import bz2\0\xff\n((((((", ["bz2.py"], id="no text"),
        pytest.param("import bz2\n'''" + "\\'(" * 100_000 + "\nimport os\n", ["bz2.py"],
                     id="open string"),
        pytest.param("import bz2\nx = '" + "\\'(" * 100_000 + "\nimport os\n",
                     ["bz2.py", "os.py"], id="open string of a line"),
    ],
)  # fmt: skip
def test_modules_that_a_program_imports(
    base: Path, source: str | bytes, modules: list[str]
) -> None:
    assert _find(base, source) == modules


def test_earlier_directory_of_the_path_counts(base: Path) -> None:
    (base / "srv/bz2.py").write_text("")

    assert _find(base, "import bz2") == ["/srv/bz2.py"]


@pytest.mark.parametrize(
    ("listed", "programs"),
    [
        pytest.param("/srv/tool", [b"/srv/app.py", b"/srv/tool"], id="script"),
        pytest.param("/srv/shell", [b"/srv/app.py"], id="script of another language"),
        pytest.param(f"{DIST}/pkg/core.py", [b"/srv/app.py"], id="installed package"),
        pytest.param(f"{DIST}/pkg/__main__.py", [b"/srv/app.py", f"{DIST}/pkg/__main__.py".encode()],
                     id="package that runs"),
        pytest.param(f"{DIST}/space/__main__.py", [b"/srv/app.py"], id="package that can run"),
        pytest.param("/etc/sitecustomize.py", [b"/srv/app.py"], id="module of the machine"),
    ],
)  # fmt: skip
def test_programs_are_in_no_library(base: Path, listed: str, programs: list[bytes]) -> None:
    (base / "etc").mkdir()
    for name, text in {
        "srv/app.py": "", "srv/tool": "#!/usr/bin/env python3\n", "srv/shell": "#!/bin/sh\n",
        f"{DIST[1:]}/pkg/__main__.py": "", f"{DIST[1:]}/space/__main__.py": "", "etc/sitecustomize.py": "",
    }.items():  # fmt: skip
        (base / name).write_text(text)

    image = examine(base, "/srv/app.py", listed, uses=USES)

    assert sorted(PythonImports(image).programs()) == sorted(programs)


def test_image_without_python_has_no_programs(base: Path) -> None:
    (base / "srv/app.py").write_text("")

    assert PythonImports(examine(base, "/srv/app.py")).programs() == []


def test_compiled_files_and_codecs_come_along(base: Path) -> None:
    compiled = base / LIB[1:] / "__pycache__"
    compiled.mkdir()
    for name in ("bz2.cpython-311.pyc", "bz2.cpython-311.opt-1.pyc", "bz2.cpython-312.pyc"):
        (compiled / name).write_text("")
    python = PythonImports(examine(base, uses=USES))

    assert [*python.companions(f"{LIB}/bz2.py".encode())] == [
        f"{LIB}/__pycache__/bz2.cpython-311.pyc".encode()
    ]
    assert [*python.always()] == [
        f"{LIB}/encodings/{name}.py".encode() for name in ("__init__", "latin_1")
    ]
