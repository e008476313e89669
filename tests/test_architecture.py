"""One module is one noun, and imports go one way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from lab import PACKAGE

ORDER = [
    *(
        "errors",
        "digest",
        "paths",
        "capabilities",
        "owners",
        "root",
        "overlay",
        "target",
        "progress",
        "process",
        "run",
        "probe",
        "performance",
        "enter",
        "sandbox",
        "strace",
        "elf",
    ),
    *("script", "ldso", "dpkg", "tracer"),
    *(
        "closure",
        "globs",
        "extras",
        "deny",
        "secret",
        "filelist",
        "needs",
        "settings",
        "presets",
        "packages",
        "lint",
        "why",
        "bytecode",
        "layer",
        "stack",
        "contents",
        "permissions",
        "image",
        "archive",
        "sbom",
        "credentials",
        "proxy",
        "registry",
        "push",
        "audit",
        "engine",
        "state",
        "seal",
    ),
    *("unpacking", "tester", "seccomp", "report", "sysroot"),
    *("tools", "steps", "terminal", "sconscript", "substitution", "checks", "variables", "guide"),
    *("project", "plans"),
    *("footprint", "builders", "commands", "chain", "alias", "tree", "__init__"),
]
"""A module imports only what stands before it."""

SCONS = {*ORDER[ORDER.index("sconscript") :]}
"""The modules that may know SCons."""


def _imports(module: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            found |= {node.module} if node.module else {alias.name for alias in node.names}
    return {str(name).split(".")[0] for name in found}


def _outside(module: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(str(node.module).split(".")[0])
    return found


def test_every_module_has_its_place() -> None:
    assert sorted(ORDER) == sorted(path.stem for path in PACKAGE.glob("*.py"))


@pytest.mark.parametrize("name", ORDER)
def test_module_imports_only_modules_before_it(name: str) -> None:
    before = set(ORDER[: ORDER.index(name)])

    assert _imports(PACKAGE / f"{name}.py") - before == set()


@pytest.mark.parametrize("name", [name for name in ORDER if name not in SCONS])
def test_scons_is_known_below_the_line_only(name: str) -> None:
    assert "SCons" not in _outside(PACKAGE / f"{name}.py")


@pytest.mark.parametrize("name", [name for name in ORDER if name not in SCONS])
def test_module_can_be_found_in_a_test(name: str) -> None:
    assert (Path(__file__).parent / f"test_{name}.py").exists()


@pytest.mark.parametrize("name", ORDER)
def test_heavy_imports_are_inside_functions(name: str) -> None:
    tree = ast.parse((PACKAGE / f"{name}.py").read_text())
    top = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            top |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            top.add(str(node.module).split(".")[0])

    heavy = {"docker", "elftools", "zstandard", "tarfile", "http", "requests", "urllib3"}
    assert top & (heavy | {"spdx_tools", "cyclonedx", "packageurl"}) == set()
