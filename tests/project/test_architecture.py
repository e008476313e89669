"""Packages stand in the order of the pipeline, and imports go one way."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from lab import PACKAGE

ORDER = {
    "": "errors progress",
    "fs": "digest paths kernel_trees private_file capabilities accounts owners base_image status walk staging file_system sights root overlay"
    " globs target",
    "sandbox": "output process server_request run probe execution init mounts namespaces private_view",
    "elf": "machines reader lookup shebang processor loader_cache loader search_path load closure ldd_text",
    "trace": "record strace_line syscalls process_lines log suite resolution program strace_tool run_checks tracer",
    "files": "dpkg extra_list secret_paths secret_kinds secret_files secret_search secrets_in_settings entry exclusions request extra_files staged_files account_files"
    " secret_refusal merge bytecode finding dependencies presets package_records list_options list_sources own_code"
    " system_data subprograms data_directories siblings module_graph python_imports perl_modules node_modules imports lint file_list why remainder",
    "image": "reference labels health settings streams compression tar_header tar_reader layer layer_stack rootfs permissions config base_settings archive",
    "publish": "credentials proxy engine_client ping engine_images load container registry_tag registry_client registry_login registry push",
    "sysroot": "unpack image_root origin debian_origin sysroot",
    "inspect": "image_test seccomp debug_tools sbom report_facts report",
    "cache": "entry store",
    "scons": "remote state declaration seal sconscript tools terminal substitution staged checks variables constructors nodes bases image_env"
    " steps/step steps/table command_line project tags steps/trace steps/health steps/ldd steps/file_list steps/layer_tar"
    " steps/layer_stack steps/image steps/index steps/load steps/push steps/sbom steps/test steps/seccomp steps/debug"
    " steps/report steps/sysroot help_text footprint builders request_aliases call deferral chain alias tree",
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
    module = Path(__file__).parents[1] / package / name
    tests = module.with_name(f"test_{module.name}.py")

    assert tests.exists() or name in UNTESTED.get(package, "").split()


UNTESTED = {
    "fs": "status",
    "sandbox": "server_request",
    "publish": "ping",
    "cache": "store",
    "files": "list_options",
    "scons": "remote sconscript checks request_aliases constructors nodes image_env tags command_line"
    " steps/layer_stack steps/seccomp steps/test",
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

    heavy = {"docker", "elftools", "zstandard", "tarfile", "http", "requests", "urllib3"}
    assert top & (heavy | {"spdx_tools", "cyclonedx", "packageurl"}) == set()
