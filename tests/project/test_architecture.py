"""Packages stand in the order of the pipeline, and imports go one way."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path

import pytest
from lab import PACKAGE

PAGE = (PACKAGE.parents[2] / "docs/design.md").read_text()
SHOWN = re.findall(r"^\| `([\w/]+)\.py` \|", PAGE, re.MULTILINE)
"""A module imports only modules that the page shows before it."""
PACKAGES = re.findall(r"^\| \*\*`(\w+)/`\*\* \|", PAGE, re.MULTILINE)


def split(module: str) -> tuple[str, str]:
    """Return package and name of `module`."""
    package, slash, name = module.partition("/")
    return (package, name) if slash else ("", module)


PLACES = [split(module) for module in SHOWN]


def path_of(package: str, name: str) -> Path:
    return PACKAGE / package / f"{name}.py"


def nodes(package: str, name: str) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path_of(package, name).read_text())))


def imports(package: str, name: str) -> set[tuple[str, str]]:
    """Return the modules of ours that a module imports, each as package and name."""
    found = set()
    for node in nodes(package, name):
        if isinstance(node, ast.ImportFrom) and node.level:
            words = node.module.split(".") if node.module else []
            base = path_of(package, name).parents[node.level - 1].joinpath(*words)
            for alias in node.names:
                module = base / f"{alias.name}.py"
                found.add(place_of(module if module.exists() else base.with_suffix(".py")))
    return found - {("", "scratch_image")}


def place_of(path: Path) -> tuple[str, str]:
    """Return package and name of the module at `path`."""
    if path.parent in (PACKAGE, PACKAGE.parent):
        return "", path.stem
    package, *words = path.relative_to(PACKAGE).with_suffix("").parts
    return package, "/".join(words)


def outside(package: str, name: str) -> set[str]:
    """Return the distributions that a module imports."""
    found = set()
    for node in nodes(package, name):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(str(node.module).split(".")[0])
    return found


def test_every_module_has_its_place() -> None:
    found = {place_of(path) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}

    assert sorted(found) == sorted(PLACES)


def test_packages_stand_together() -> None:
    found = [package for package, _ in itertools.groupby(PLACES, key=lambda place: place[0])]

    assert found == ["", *PACKAGES]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_what_it_is_for(package: str) -> None:
    tree = ast.parse((PACKAGE / package / "__init__.py").read_text())

    assert ast.get_docstring(tree)
    assert len(tree.body) == 1, "importing a package imports no module"


@pytest.mark.parametrize(("package", "name"), PLACES)
def test_module_imports_only_modules_before_it(package: str, name: str) -> None:
    assert imports(package, name) - {*PLACES[: PLACES.index((package, name))]} == set()


@pytest.mark.parametrize(("package", "name"), PLACES)
def test_modules_and_functions_are_short(package: str, name: str) -> None:
    functions = [each for each in nodes(package, name) if isinstance(each, ast.FunctionDef)]
    # A docstring, as that of `Run`, is part of the reference.
    long = [
        each.name
        for each in functions
        if (each.end_lineno or 0) - each.lineno - (ast.get_docstring(each) or "").count("\n") > 40
    ]

    assert len(path_of(package, name).read_text().splitlines()) <= 450
    assert long == []


@pytest.mark.parametrize(("package", "name"), PLACES)
def test_only_the_last_package_knows_scons(package: str, name: str) -> None:
    assert package == "scons" or "SCons" not in outside(package, name)


@pytest.mark.parametrize(("package", "name"), PLACES)
def test_a_module_has_its_tests(package: str, name: str) -> None:
    module = Path(__file__).parents[1] / package / name
    tests = module.with_name(f"test_{module.name}.py")

    assert tests.exists() or name in UNTESTED.get(package, "").split()


UNTESTED = {
    "publish": "ping",
    "cache": "store",
    "files": "list_options",
    "scons": "remote image_chain shared_cache sconscript checks request_aliases constructors nodes command_line steps/layer_stack steps/seccomp steps/test",
}
"""Modules that the tests of file systems, builders, file lists and inspections hold."""


@pytest.mark.parametrize(("package", "name"), PLACES)
def test_heavy_imports_are_inside_functions(package: str, name: str) -> None:
    tree = ast.parse(path_of(package, name).read_text())
    top = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            top |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            top.add(str(node.module).split(".")[0])

    assert top & HEAVY == set()


HEAVY = {
    *("cryptography", "cyclonedx", "docker", "elftools", "grpc", "http", "packageurl", "requests"),
    *("spdx_tools", "tarfile", "urllib3", "zstandard"),
}
