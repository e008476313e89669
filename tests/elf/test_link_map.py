"""Libraries that a program loads by dlopen(3), compared with what glibc's and musl's loaders open.

Each case is a plugin, and where its libraries lie; the program, its caller, opens it by its path.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from linked import Build, opened, search
from scratch_image.elf.closure import Closure, Closures
from scratch_image.fs.root import Root

RPATH = "-Wl,--disable-new-dtags"
RUNPATH = "-Wl,--enable-new-dtags"
LOOSE = "-Wl,--allow-shlib-undefined"
HOST = """
    #include <dlfcn.h>
    int main(int count, char **words) { return !dlopen(words[1], RTLD_LAZY); }
"""
CALLER = """
    #include <dlfcn.h>
    int call(char *name) { return !dlopen(name, RTLD_LAZY); }
"""


@dataclass
class Case:
    """A program that loads a plugin."""

    build: Build
    compiler: str
    plugin: bytes = b""
    program: bytes = b""
    environment: dict[bytes, bytes] = field(default_factory=dict)

    def library(self, out: str, *needs: str, paths: tuple[str, ...] = ()) -> bytes:
        """Make a library that needs the libraries `needs`, and says to look in `paths`."""
        name = "".join(filter(str.isalnum, Path(out).stem))
        files = [str(self.build.top / need) for need in needs]
        flags = ["-Wl,--no-as-needed", LOOSE, *files, *paths]
        code = f"int {name}(void) {{ return 1; }}"
        return self.build.library(out, code, *flags, compiler=self.compiler)

    def host(self, *flags: str) -> None:
        """Make the program."""
        self.program = self.build.compile("bin/host", HOST, *flags, compiler=self.compiler)


def _numpy(case: Case, kind: str) -> None:
    """Make a wheel in which only the extension module names the directory of its libraries."""
    case.library("n.libs/libquadmath-1.so")
    case.library("n.libs/libgfortran-1.so", "n.libs/libquadmath-1.so")
    case.library("n.libs/libblas-1.so", "n.libs/libgfortran-1.so")
    paths = (kind, search("$ORIGIN/../../n.libs"))
    case.plugin = case.library("n/core/umath.so", "n.libs/libblas-1.so", paths=paths)
    case.host()


def wheel_with_rpath(case: Case) -> None:
    _numpy(case, RPATH)


def wheel_with_runpath(case: Case) -> None:
    _numpy(case, RUNPATH)


def wheel_with_search_paths_in_libraries(case: Case) -> None:
    """Make a wheel in which each library names its own directory."""
    here = (RPATH, search("$ORIGIN"))
    case.library("m.libs/libquadmath-2.so")
    case.library("m.libs/libgfortran-2.so", "m.libs/libquadmath-2.so", paths=here)
    paths = (RUNPATH, search("$ORIGIN/../../m.libs"))
    case.plugin = case.library("m/core/umath.so", "m.libs/libgfortran-2.so", paths=paths)
    case.host()


def _of_program(case: Case, kind: str) -> None:
    case.library("p.libs/libdep.so")
    case.plugin = case.library("p/plugin.so", "p.libs/libdep.so")
    case.host(kind, search("$ORIGIN/../p.libs"))


def rpath_of_the_program(case: Case) -> None:
    _of_program(case, RPATH)


def runpath_of_the_program(case: Case) -> None:
    _of_program(case, RUNPATH)


def runpath_of_the_plugin_hides_rpath_of_the_program(case: Case) -> None:
    case.library("p.libs/libdep.so")
    paths = (RUNPATH, search("/nowhere"))
    case.plugin = case.library("p/own.so", "p.libs/libdep.so", paths=paths)
    case.host(RPATH, search("$ORIGIN/../p.libs"))


def rpath_of_the_library_that_calls_dlopen(case: Case) -> None:
    """Make a caller whose search path counts for the plugin's name, and for nothing else."""
    build = case.build
    case.library("p.libs/libdep.so")
    case.plugin = case.library("p/plugin.so", "p.libs/libdep.so")
    build.library(
        "c/libcaller.so", CALLER, RPATH, search("$ORIGIN/../p.libs"), compiler=case.compiler
    )
    code = "int call(char *); int main(int count, char **words) { return call(words[1]); }"
    flags = (f"{build.top}/c/libcaller.so", LOOSE, RUNPATH, search("$ORIGIN/../c"))
    case.program = build.compile("bin/host", code, *flags, compiler=case.compiler)


def library_that_is_loaded_already(case: Case) -> None:
    case.library("far/libdep.so")
    case.library("near/libmid.so", "far/libdep.so", paths=(RUNPATH, search("$ORIGIN/../far")))
    case.plugin = case.library("p/plugin.so", "far/libdep.so")
    libraries = ("-Wl,--no-as-needed", f"{case.build.top}/near/libmid.so", LOOSE)
    case.host(*libraries, RUNPATH, search("$ORIGIN/../near"))


def library_of_the_environment(case: Case) -> None:
    case.library("far/libdep.so")
    case.plugin = case.library("p/plugin.so", "far/libdep.so")
    case.environment = {b"LD_LIBRARY_PATH": case.build.path("far")}
    case.host()


def library_beside_a_link(case: Case) -> None:
    """$ORIGIN of a plugin is where the program opened it."""
    case.library("real/libdep.so")
    paths = (RPATH, search("$ORIGIN"))
    case.library("real/plugin.so", "real/libdep.so", paths=paths)
    (case.build.top / "linked").mkdir()
    (case.build.top / "linked/plugin.so").symlink_to("../real/plugin.so")
    (case.build.top / "linked/libdep.so").symlink_to("../real/libdep.so")
    case.plugin = case.build.path("linked/plugin.so")
    case.host()


def directory_that_is_a_link(case: Case) -> None:
    case.library("real/libdep.so")
    case.library("real/plugin.so", "real/libdep.so", paths=(RPATH, search("$ORIGIN/../real")))
    (case.build.top / "turn").symlink_to("real")
    case.plugin = case.build.path("turn/plugin.so")
    case.host()


def tokens(case: Case) -> None:
    case.library("tok/lib/x86_64-linux-gnu/libone.so")
    for platform in ("x86_64", "haswell"):
        case.library(f"tok/{platform}/libtwo.so")
    needs = ("tok/lib/x86_64-linux-gnu/libone.so", "tok/x86_64/libtwo.so")
    paths = (RPATH, search("$ORIGIN/../tok/$LIB", "${ORIGIN}/../tok/${PLATFORM}"))
    case.plugin = case.library("p/tokens.so", *needs, paths=paths)
    case.host()


def levels(case: Case) -> None:
    for level in ("", "glibc-hwcaps/x86-64-v2/", "glibc-hwcaps/x86-64-v3/"):
        case.library(f"hw/{level}libhw.so")
    case.plugin = case.library("p/hw.so", "hw/libhw.so", paths=(RPATH, search("$ORIGIN/../hw")))
    case.host()


def no_default_directories(case: Case) -> None:
    case.library("p.libs/libdep.so")
    paths = ("-Wl,-z,nodefaultlib", RPATH, search("$ORIGIN/../p.libs"))
    case.plugin = case.library("p/nodef.so", "p.libs/libdep.so", paths=paths)
    case.host()


def library_of_the_system(case: Case) -> None:
    case.plugin = case.library("p/plain.so")
    case.host()


CASES = [
    wheel_with_rpath,
    wheel_with_runpath,
    wheel_with_search_paths_in_libraries,
    rpath_of_the_program,
    runpath_of_the_program,
    runpath_of_the_plugin_hides_rpath_of_the_program,
    rpath_of_the_library_that_calls_dlopen,
    library_that_is_loaded_already,
    library_of_the_environment,
    library_beside_a_link,
    directory_that_is_a_link,
    tokens,
    levels,
    no_default_directories,
    library_of_the_system,
]


@pytest.mark.parametrize("layout", CASES)
@pytest.mark.parametrize("compiler", ["gcc", "musl-gcc"])
def test_finds_what_the_loader_opens(
    layout: Callable[[Case], None], compiler: str, tmp_path: Path
) -> None:
    case = Case(Build(tmp_path), compiler)
    layout(case)
    libraries, _ = opened(case.program, case.environment, case.plugin)
    started = subprocess.run([case.program, case.plugin], env=case.environment)

    image = Closures(Root(), case.environment)
    found = [*image.find(case.program), *image.find(case.plugin)]

    missing = [each for closure in found for each in closure.missing]
    if started.returncode:
        assert missing
    else:
        assert {*libraries} == {case.plugin, *_loaded(found)}
        assert not missing


def _loaded(found: list[Closure]) -> list[bytes]:
    return [each.path for closure in found for each in closure.libraries if not each.variant]
