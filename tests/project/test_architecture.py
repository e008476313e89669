"""Packages stand in the order of the pipeline, and imports go one way."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from lab import PACKAGE

ORDER = {
    "": "errors progress",
    "fs": "digest paths capabilities owners status walk file_system sights root overlay globs target",
    "sandbox": "output process run probe runner init mounts namespaces private_view",
    "elf": "machines reader shebang processor loader_cache search_path closure ldd_text",
    "trace": "strace tracer",
    "files": "dpkg extra_list denied secret file_list bytecode dependencies presets packages lint why",
    "image": "settings streams compression tar_header tar_reader layer stack rootfs permissions config archive",
    "publish": "credentials proxy engine registry push",
    "sysroot": "unpack sysroot",
    "inspect": "replay seccomp sbom report",
    "scons": "state seal sconscript tools steps terminal substitution checks variables help_text project"
    " plans footprint builders commands chain alias tree",
}
"""A package imports only packages before it, and a module only modules before it."""

PLACES = [(package, name) for package, names in ORDER.items() for name in names.split()]


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
            here = [package] if package and node.level == 1 else []
            for alias in node.names:
                found.add(module_of([*here, *words, alias.name]))
    return found - {("", "__init__")}


def module_of(words: list[str]) -> tuple[str, str]:
    """Return the module that `words` name, or of which they name something."""
    if words[0] in ORDER:
        return words[0], words[1]
    return "", words[0] if (PACKAGE / f"{words[0]}.py").exists() else "__init__"


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
    found = {
        (str(path.parent.relative_to(PACKAGE)).removeprefix("."), path.stem)
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py"
    }

    assert sorted(found) == sorted(PLACES)


def test_design_page_shows_the_tree() -> None:
    page = (PACKAGE.parents[2] / "docs/design.md").read_text()
    shown = re.findall(r"^\| `([\w/]+)\.py` \|", page, re.MULTILINE)
    headings = re.findall(r"^\| \*\*`(\w+)/`\*\* \|", page, re.MULTILINE)

    assert shown == ["/".join(filter(None, place)) for place in PLACES]
    assert headings == [each for each in ORDER if each]


@pytest.mark.parametrize("package", [each for each in ORDER if each])
def test_a_package_says_what_it_is_for(package: str) -> None:
    tree = ast.parse((PACKAGE / package / "__init__.py").read_text())

    assert ast.get_docstring(tree)
    assert len(tree.body) == 1, "importing a package imports no module"


@pytest.mark.parametrize(("package", "name"), PLACES)
def test_module_imports_only_modules_before_it(package: str, name: str) -> None:
    assert imports(package, name) - {*PLACES[: PLACES.index((package, name))]} == set()


@pytest.mark.parametrize(("package", "name"), PLACES)
def test_only_the_last_package_knows_scons(package: str, name: str) -> None:
    assert package == "scons" or "SCons" not in outside(package, name)


@pytest.mark.parametrize(("package", "name"), PLACES)
def test_a_module_has_its_tests(package: str, name: str) -> None:
    tests = Path(__file__).parents[1] / package / f"test_{name}.py"

    assert tests.exists() or (package, name) in UNTESTED


UNTESTED = {
    ("fs", "status"),
    *{("scons", name) for name in ("sconscript", "checks", "plans", "commands")},
}
"""Modules that the tests of file systems and of builders hold."""


@pytest.mark.parametrize(("package", "name"), PLACES)
def test_heavy_imports_are_inside_functions(package: str, name: str) -> None:
    tree = ast.parse(path_of(package, name).read_text())
    top = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            top |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            top.add(str(node.module).split(".")[0])

    heavy = {"docker", "elftools", "zstandard", "tarfile", "http", "requests", "urllib3"}
    assert top & (heavy | {"spdx_tools", "cyclonedx", "packageurl"}) == set()
