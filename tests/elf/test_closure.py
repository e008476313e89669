from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import arm64
import pytest
from hypothesis import given
from hypothesis import strategies as st
from linked import Build, opened, search
from scratch_image.elf import closure, machines
from scratch_image.elf.closure import Closure, Closures, LddRow
from scratch_image.elf.link_map import Library, Missing
from scratch_image.errors import ElfError, InputError
from scratch_image.fs.paths import is_under
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem

GOLDEN = Path(__file__).parent / "closure"
LOADER = b"/lib64/ld-linux-x86-64.so.2"
LIBC = b"/lib/x86_64-linux-gnu/libc.so.6"
OLD = "-Wl,--disable-new-dtags"
NEW = "-Wl,--enable-new-dtags"
LOOSE = "-Wl,--allow-shlib-undefined"
LEGACY = re.compile(rb"/(tls|x86_64|i686|haswell|xeon_phi|avx512_1|sse2|cmov)/")
"""Subdirectories that glibc looked in until 2.36."""


def find(root: Root, path: bytes, environment: Mapping[bytes, bytes] | None = None) -> Closure:
    """Return the closure of `path` alone."""
    return Closures(root, environment or {}).find(path)[0]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    built = Build(tmp_path_factory.mktemp("closure"))
    built.library("lib2/libchild.so", "int child(void) { return 1; }")
    parent = "int child(void); int parent(void) { return child(); }"
    built.library("lib/libparent.so", parent, "-Llib2", "-lchild")
    return built


def loaded(found: Closure) -> list[bytes]:
    return [library.path for library in found.libraries if not library.variant]


def check(program: bytes, environment: Mapping[bytes, bytes] | None = None) -> Closure:
    """Compare the closure of `program` and its record with what the loader did."""
    root = Root()
    found = find(root, program, environment or {})
    libraries, absent = opened(program, environment or {})
    assert libraries == loaded(found)
    missed = [path for path, _ in root.looked if root.files.status(path) is None]
    for path in absent:
        if b".so" in path and not LEGACY.search(path):
            first = Root().walk(path).real
            assert any(is_under(first, each) for each in missed), path
    for path in libraries:
        assert (root.walk(path).real, Aspect.CONTENT) in root.looked
    return found


def rpath_inherited(b: Build) -> bytes:
    return b.program("bin/inherit", "parent", "-Llib", "-lparent", OLD, LOOSE,
                     search("$ORIGIN/../lib", "$ORIGIN/../lib2"))  # fmt: skip


def rpath_of_the_middle(b: Build) -> bytes:
    b.library("mid/libmid.so", "int child(void); int mid(void) { return child(); }",
              "-Llib2", "-lchild", OLD, search("$ORIGIN/../lib2"))  # fmt: skip
    b.library("top/libtop.so", "int mid(void); int top(void) { return mid(); }",
              "-Lmid", "-lmid", OLD, LOOSE, search("$ORIGIN/../mid"))  # fmt: skip
    return b.program("bin/middle", "top", "-Ltop", "-ltop", OLD, LOOSE, search("$ORIGIN/../top"))


def runpath_of_a_linked_library(b: Build) -> bytes:
    """$ORIGIN is where the loader opened a library, not where its link leads."""
    b.library("real/deep/libl.so", "int child(void); int l(void) { return child(); }",
              "-Llib2", "-lchild", NEW, search("$ORIGIN/near"))  # fmt: skip
    (b.top / "links/near").mkdir(parents=True)
    (b.top / "links/libl.so").symlink_to("../real/deep/libl.so")
    (b.top / "links/near/libchild.so").symlink_to("../../lib2/libchild.so")
    return b.program("bin/linked", "l", "-Llinks", "-ll", NEW, LOOSE, search("$ORIGIN/../links"))


def lib_token(b: Build) -> bytes:
    b.library("tok/lib/x86_64-linux-gnu/libtok.so", "int tok(void) { return 1; }")
    return b.program("bin/token", "tok", "-Ltok/lib/x86_64-linux-gnu", "-ltok", NEW,
                     search("$ORIGIN/../tok/$LIB"))  # fmt: skip


def platform_token(b: Build) -> bytes:
    for platform in ("x86_64", "haswell"):
        b.library(f"plat/{platform}/libplat.so", "int plat(void) { return 1; }")
    return b.program("bin/platform", "plat", "-Lplat/x86_64", "-lplat", NEW,
                     search("$ORIGIN/../plat/${PLATFORM}"))  # fmt: skip


def levels(b: Build) -> bytes:
    for place in ("", "glibc-hwcaps/x86-64-v2/", "glibc-hwcaps/x86-64-v3/"):
        b.library(f"hw/{place}libhw.so", "int hw(void) { return 1; }")
    b.library("hw/glibc-hwcaps/x86-64-v4/libhw.so", "int child(void); int hw(void) { return child(); }", "-Llib2", "-lchild", search("$ORIGIN/../../../lib2"))  # fmt: skip
    return b.program("bin/levels", "hw", "-Lhw", "-lhw", NEW, search("$ORIGIN/../hw"))


def started_by_a_link(b: Build) -> bytes:
    rpath_inherited(b)
    (b.top / "other/deep").mkdir(parents=True)
    (b.top / "other/deep/linked").symlink_to("../../bin/inherit")
    return b.path("other/deep/linked")


def needed_with_a_slash(b: Build) -> bytes:
    path = b.path("lib2/libslash.so")
    b.compile("lib2/libslash.so", "int slash(void) { return 1; }", "-shared", "-fPIC")
    return b.program("bin/slash", "slash", os.fsdecode(path))


def filters(b: Build) -> bytes:
    b.library("filter/libimpl.so", "int f(void) { return 7; }")
    b.library("filter/libaux.so", "int g(void) { return 7; }")
    b.library("filter/libfilt.so", "int f(void) { return 1; } int g(void) { return 1; }",
              "-Wl,-F,libimpl.so", "-Wl,-f,libaux.so", "-Wl,-f,libnotthere.so",
              OLD, search("$ORIGIN"))  # fmt: skip
    return b.program("bin/filter", "f g", "-Lfilter", "-lfilt", OLD, search("$ORIGIN/../filter"))


def two_names_of_one_soname(b: Build) -> bytes:
    shutil.copy(b.top / "lib2/libchild.so", b.top / "lib2/libalias.so")
    b.program("bin/alias", "child", "-Llib2", "-lchild", OLD, search("$ORIGIN/../lib2"))
    subprocess.run(["patchelf", "--add-needed", "libalias.so", b.path("bin/alias")], check=True)
    return b.path("bin/alias")


def two_names_of_one_file(b: Build) -> bytes:
    b.library("same/libone.so", "int one(void) { return 1; }", soname="libone.so.1")
    (b.top / "same/libone.so.1").symlink_to("libone.so")
    os.link(b.top / "same/libone.so", b.top / "same/libtwin.so")
    b.program("bin/same", "one", "-Lsame", "-lone", NEW, search("$ORIGIN/../same"))
    for name in ("libtwin.so", "libone.so"):
        subprocess.run(["patchelf", "--add-needed", name, b.path("bin/same")], check=True)
    return b.path("bin/same")


def foreign_library_first(b: Build) -> bytes:
    b.library("wrong/libchild.so", "int child(void) { return 1; }", "-m32")
    return b.program("bin/wrong", "child", "-Llib2", "-lchild", NEW,
                     search("$ORIGIN/../wrong", "$ORIGIN/../lib2"))  # fmt: skip


def i386(b: Build) -> bytes:
    b.library("m32/libm.so", "int mm(void) { return 1; }", "-m32")
    return b.program("bin/m32", "mm", "-m32", "-Lm32", "-l:libm.so", search("$ORIGIN/../m32"))


def musl(b: Build) -> bytes:
    for name, code in (("c", "int mc(void) { return 1; }"), ("p", "int mc(void); int mp(void) { return mc(); }")):  # fmt: skip
        options = ["-Lmusl", "-lmc"] if name == "p" else []
        b.compile(f"musl/libm{name}.so", code, "-shared", "-fPIC", *options, compiler="musl-gcc")
    return b.program("bin/musl", "mp", "-Lmusl", "-lmp", NEW, LOOSE, search("$ORIGIN/../musl"),
                     compiler="musl-gcc")  # fmt: skip


@pytest.mark.parametrize(
    "layout",
    [
        rpath_inherited,
        rpath_of_the_middle,
        runpath_of_a_linked_library,
        lib_token,
        platform_token,
        levels,
        started_by_a_link,
        needed_with_a_slash,
        filters,
        two_names_of_one_soname,
        two_names_of_one_file,
        foreign_library_first,
        i386,
        musl,
    ],
)
def test_finds_what_the_loader_opens(layout: Callable[[Build], bytes], build: Build) -> None:
    found = check(layout(build))
    assert found.missing == ()
    assert not found.static
    assert loaded(found)


@pytest.mark.parametrize("name", ["bash", "gcc", "strace", "perl", "git"])
def test_finds_what_the_loader_opens_for_installed_programs(name: str, tmp_path: Path) -> None:
    # A copy: the trace's log is put beside the program.
    shutil.copy(f"/usr/bin/{name}", tmp_path / name)
    assert (
        loaded(find(Root(), b"/usr/bin/" + name.encode()))[-1:]
        == (loaded(check(os.fsencode(tmp_path / name)))[-1:])
    )


@pytest.mark.parametrize("flag", ["-static", "-static-pie"])
def test_static_programs_have_no_libraries(flag: str, build: Build) -> None:
    found = check(build.program(f"bin/{flag[1:]}", "", flag))
    assert found.static
    assert found.loader is None
    assert found.libraries == ()


def test_runpath_is_not_inherited(build: Build) -> None:
    program = build.program("bin/noinherit", "parent", "-Llib", "-lparent", NEW, LOOSE,
                            search("$ORIGIN/../lib", "$ORIGIN/../lib2"))  # fmt: skip
    found = find(Root(), program)
    (missing,) = found.missing
    assert missing.name == b"libchild.so"
    assert missing.needed_by == build.path("bin/../lib/libparent.so")
    assert missing.searched == (
        b"/lib/x86_64-linux-gnu", b"/usr/lib/x86_64-linux-gnu", b"/lib", b"/usr/lib"
    )  # fmt: skip
    with pytest.raises(ElfError) as caught:
        closure.require(found.missing)
    assert str(caught.value) == (
        f"cannot find libchild.so: {os.fsdecode(missing.needed_by)} needs libchild.so "
        "(searched: /lib/x86_64-linux-gnu, /usr/lib/x86_64-linux-gnu, /lib, /usr/lib); "
        "install its package, stage it, add its directory to the runpath, or add a run that loads it"
    )
    assert subprocess.run([program], capture_output=True).returncode == 127


def test_a_program_without_default_directories_misses_its_libc(build: Build) -> None:
    program = build.program("bin/nodeflib", "", "-Wl,-z,nodefaultlib")
    assert check(program).missing == (Missing(b"libc.so.6", program, ()),)
    assert subprocess.run([program], capture_output=True).returncode == 127


def test_all_missing_libraries_are_told_at_once() -> None:
    one, two = Missing(b"a b.so", b"/p", (b"/l",)), Missing(b"c.so", b"/q", ())
    with pytest.raises(ElfError) as caught:
        closure.require([one, two])
    assert str(caught.value) == (
        r"cannot find a\040b.so, c.so: /p needs a\040b.so (searched: /l), /q needs c.so "
        "(searched: nowhere); install its package, stage it, add its directory to the runpath, "
        "or add a run that loads it"
    )
    closure.require([])


def test_an_audit_library_is_found_and_nothing_is_executed(build: Build) -> None:
    marker = build.top / "executed"
    build.library("audit/libaudit.so", f"""
        #include <stdio.h>
        unsigned la_version(unsigned v) {{ fclose(fopen("{marker}", "w")); return v; }}
        __attribute__((constructor)) static void start(void) {{ la_version(0); }}
    """)  # fmt: skip
    program = build.program("bin/audit", "", f"-Wl,--audit={build.top}/audit/libaudit.so")
    found = find(Root(), program)
    assert not marker.exists()
    # In the auditor's own name space the loader is a library as well.
    libraries = [path for path in opened(program, {})[0] if not path.endswith(LOADER[6:])]
    assert libraries == loaded(found)
    assert marker.exists(), "running it does write the marker: the test can fail"
    assert loaded(found)[0] == build.path("audit/libaudit.so")


def test_no_process_is_started(build: Build) -> None:
    program = rpath_inherited(build)
    script = f"""
import sys
sys.path[:] = {sys.path!r}
from scratch_image.elf.closure import Closures
from scratch_image.fs.root import Root
def hook(event, _):
    if event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "os.system"):
        raise SystemExit(event)
sys.addaudithook(hook)
Closures(Root()).find({program!r})
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_environment(build: Build) -> None:
    program = build.program("bin/env", "parent", "-Llib", "-lparent", LOOSE)
    preload = build.library("pre/libpre.so", "int pre(void) { return 1; }")
    directories = build.path("lib") + b":" + build.path("lib2")
    environment = {b"LD_LIBRARY_PATH": directories, b"LD_PRELOAD": preload + b" libnone.so"}
    found = check(program, environment)
    assert loaded(found) == [
        preload,
        build.path("lib/libparent.so"),
        LIBC,
        build.path("lib2/libchild.so"),
    ]
    assert found.missing == ()
    os.chmod(program, 0o4755)
    try:
        (missing,) = find(Root(), program, environment).missing
    finally:
        os.chmod(program, 0o755)
    assert missing.name == b"libparent.so"


def test_all_levels_are_listed_whatever_the_processor(build: Build) -> None:
    found = find(Root(), levels(build))
    top = build.path("bin/../hw")
    below = (b"/glibc-hwcaps/x86-64-v%d/libhw.so" % level for level in (4, 3, 2))
    every = {top + name for name in (*below, b"/libhw.so")}
    child = os.path.join(top, b"glibc-hwcaps/x86-64-v4/../../../lib2/libchild.so")
    listed = [library.path for library in found.libraries if library.path.startswith(top)]
    assert sorted([*every, child]) == sorted(listed)
    chosen = every & {*loaded(found)}
    assert len(chosen) == 1
    assert {
        library.path for library in found.libraries if library.variant
    } & every == every - chosen
    assert {library.needed_by for library in found.libraries if library.path in every} == {
        build.path("bin/levels")
    }


def test_a_level_without_baseline_does_not_end_the_search(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    build.library("only/glibc-hwcaps/x86-64-v2/libo.so", "int o(void) { return 1; }")
    build.library("base/libo.so", "int o(void) { return 1; }")
    program = build.program("bin/only", "o", "-Lbase", "-lo", NEW,
                            search("$ORIGIN/../only", "$ORIGIN/../base"))  # fmt: skip
    found = check(program)
    paths = {library.path: library.variant for library in found.libraries}
    low, base = (
        build.path("bin/../only/glibc-hwcaps/x86-64-v2/libo.so"), build.path("bin/../base/libo.so")
    )  # fmt: skip
    assert paths[low] is not paths[base]
    monkeypatch.setattr("scratch_image.elf.search_path.cpuinfo", lambda: b"")
    old = {library.path: library.variant for library in find(Root(), program).libraries}
    assert old.keys() == paths.keys()
    assert (old[low], old[base]) == (True, False)


def noted(build: Build, names: str, priority: str) -> Closure:
    """Return the closure of a program with a library that may load the JSON list `names`."""
    note = f'[{{"soname":[{names}],"priority":"{priority}"}}]'.replace('"', '\\"')
    size = len(note.replace("\\", "")) + 1
    build.library("note/libnote.so", f"""
        __attribute__((used, section(".note.dlopen"), aligned(4))) static const struct {{
            unsigned name, size, type; char owner[4]; char text[{size + -size % 4}];
        }} note = {{4, {size}, 0x407c0c0a, "FDO", "{note}"}};
        int note_user(void) {{ return note.type; }}
    """)  # fmt: skip
    program = build.program("bin/note", "note_user", "-Lnote", "-lnote", search("$ORIGIN/../note"))
    return find(Root(), program)


@pytest.mark.parametrize(
    ("names", "priority", "loaded", "missing"),
    [
        pytest.param('"libz.so.1"', "required", [b"libz.so.1"], [], id="required"),
        pytest.param('"libz.so.1"', "recommended", [], [], id="recommended"),
        pytest.param('"libno.so.7","libz.so.1"', "required", [b"libz.so.1"], [], id="second best"),
        pytest.param(
            '"libz.so.1","libm.so.6"', "required", [b"libz.so.1"], [], id="the best alone"
        ),
        pytest.param('"libno.so.7","libno.so.6"', "required", [], [b"libno.so.7"], id="none"),
        pytest.param("", "required", [], [], id="no names"),
    ],
)
def test_what_a_dlopen_note_requires_is_a_library(
    build: Build, names: str, priority: str, loaded: list[bytes], missing: list[bytes]
) -> None:
    found = noted(build, names, priority)
    by = build.path("bin/../note/libnote.so")
    assert [each.name for each in found.libraries if each.needed_by == by] == loaded
    assert [each.name for each in found.missing] == missing


def test_a_library_has_a_closure_too() -> None:
    path = b"/lib/x86_64-linux-gnu/libssl.so.3"
    found = find(Root(), path)
    printed = subprocess.run(["ldd", path], capture_output=True, check=True).stdout
    rows = closure.read_closures(printed)
    assert {os.path.realpath(row.path) for row in rows} == set(map(os.path.realpath, loaded(found)))
    assert found.loader is None
    assert not found.static


def test_a_library_that_needs_nothing_is_static(build: Build) -> None:
    assert find(Root(), build.path("lib2/libchild.so")).static


def a_sysroot(tmp_path: Path, *files: bytes) -> Root:
    for path in files:
        place = tmp_path / os.fsdecode(path)[1:]
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.fsdecode(path), place)
    return Root(WatchedFileSystem(os.fsencode(tmp_path)))


def test_the_closure_stays_in_its_root(build: Build, tmp_path: Path) -> None:
    program = build.program("bin/plain", "")
    root = a_sysroot(tmp_path, program, LIBC)
    (tmp_path / "usr/lib/x86_64-linux-gnu").mkdir(parents=True)
    shutil.copy(os.fsdecode(LOADER), tmp_path / "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
    (tmp_path / "lib64").mkdir()
    (tmp_path / "lib64/ld-linux-x86-64.so.2").symlink_to(
        "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
    )
    found = find(root, program)
    assert loaded(found) == [LIBC]
    assert found.missing == ()
    assert not any(path.startswith(os.fsencode(tmp_path)) for path, _ in root.looked)


def test_where_the_loader_is_missing_nothing_else_is_searched(build: Build, tmp_path: Path) -> None:
    program = build.program("bin/plain", "")
    found = find(a_sysroot(tmp_path, program), program)
    assert found.missing == (Missing(LOADER, program, ()),)
    with pytest.raises(ElfError) as caught:
        closure.require(found.missing)
    assert str(caught.value) == (
        f"cannot run {os.fsdecode(program)}: its loader {os.fsdecode(LOADER)} does not exist; "
        "install it, or build the program for the loader of its root"
    )


def test_a_loader_with_a_relative_path_is_seen_from_the_root(build: Build) -> None:
    program = build.program("bin/relative", "", "-Wl,--dynamic-linker=lib64/ld-linux-x86-64.so.2")
    found = find(Root(), program)
    assert (found.loader, found.missing) == (LOADER, ())
    assert subprocess.run([program], cwd="/").returncode == 0
    assert loaded(found) == [LIBC]


def test_a_loader_behind_links(build: Build, tmp_path: Path) -> None:
    (tmp_path / "first").symlink_to("second")
    (tmp_path / "second").symlink_to(os.fsdecode(LOADER))
    loader = f"-Wl,--dynamic-linker={tmp_path}/first"
    assert loaded(check(build.program("bin/links", "", loader))) == [LIBC]


def test_the_record_of_a_closure_is_exact(build: Build, tmp_path: Path) -> None:
    program = build.program("bin/plain", "")
    root = a_sysroot(tmp_path, program, LOADER, LIBC)
    (tmp_path / "usr/lib/x86_64-linux-gnu").mkdir(parents=True)
    find(root, program)
    assert {
        (program, Aspect.CONTENT),
        (LOADER, Aspect.CONTENT),
        (b"/etc", Aspect.STAT),
        (b"libc.so.6", Aspect.SONAME),
        (b"/lib/x86_64-linux-gnu/glibc-hwcaps", Aspect.STAT),
        (LIBC, Aspect.CONTENT),
    } == root.looked


def test_a_library_that_comes_first_changes_the_record(build: Build, tmp_path: Path) -> None:
    program = build.program("bin/first", "child", "-Llib2", "-lchild", NEW,
                            search("/absent", "/here", "/there"))  # fmt: skip
    root = a_sysroot(tmp_path, program, LOADER)
    for place in ("here/x", "there"):
        (tmp_path / place).mkdir(parents=True)
    shutil.copy(build.top / "lib2/libchild.so", tmp_path / "there/libchild.so")
    found = find(root, program)
    assert loaded(found) == [b"/there/libchild.so"]
    assert {
        (b"/absent", Aspect.STAT),
        (b"/here/glibc-hwcaps", Aspect.STAT),
        (b"/here/libchild.so", Aspect.STAT),
        (b"/there/glibc-hwcaps", Aspect.STAT),
        (b"/there/libchild.so", Aspect.CONTENT),
    } <= root.looked


def test_a_directory_in_a_librarys_place_is_passed_over(build: Build, tmp_path: Path) -> None:
    program = build.program("bin/first", "child", "-Llib2", "-lchild", NEW,
                            search("/absent", "/here", "/there"))  # fmt: skip
    root = a_sysroot(tmp_path, program, LOADER)
    (tmp_path / "here/libchild.so").mkdir(parents=True)
    assert b"libchild.so" in [each.name for each in find(root, program).missing]


def test_a_staged_library_is_found(build: Build) -> None:
    program = build.program("bin/staged", "child", "-Llib2", "-lchild", search("/opt/staged"))
    root = Root(WatchedFileSystem(staged={
        b"/usr/bin/staged": program, b"/opt/staged/libchild.so": build.path("lib2/libchild.so")
    }))  # fmt: skip
    found = find(root, b"/usr/bin/staged")
    assert found.path == b"/usr/bin/staged"
    assert loaded(found)[0] == b"/opt/staged/libchild.so"
    assert found.libraries[0].needed_by == b"/usr/bin/staged"


def test_a_changed_library_is_read_again(build: Build, tmp_path: Path) -> None:
    program = build.program("bin/change", "child", "-Llib2", "-lchild", search("/l"))
    root = a_sysroot(tmp_path, program, LOADER)
    (tmp_path / "l").mkdir()
    shutil.copy(build.top / "lib2/libchild.so", tmp_path / "l/libchild.so")
    assert [each.name for each in find(root, program).missing] == [b"libc.so.6"]
    build.library("lib3/libchild.so", "int child(void) { return 1; }", "-Wl,--no-as-needed", "-lm")
    shutil.copy(build.top / "lib3/libchild.so", tmp_path / "l/libchild.so")
    missing = [each.name for each in find(root, program).missing]
    assert missing == [b"libc.so.6", b"libm.so.6"]


def test_a_library_that_is_no_elf_file(build: Build, tmp_path: Path) -> None:
    program = build.program("bin/text", "child", "-Llib2", "-lchild", search("/l"))
    root = a_sysroot(tmp_path, program, LOADER, LIBC)
    (tmp_path / "l").mkdir()
    (tmp_path / "l/libchild.so").write_text("INPUT(libchild.so.1)\n")
    with pytest.raises(ElfError) as caught:
        find(root, program)
    assert str(caught.value).startswith("cannot read ELF file /l/libchild.so: ")


def write_script(path: Path, text: str) -> bytes:
    path.write_text(text)
    path.chmod(0o755)
    return os.fsencode(path)


def test_script(tmp_path: Path) -> None:
    script = write_script(tmp_path / "script", "#! /bin/sh -e\n")
    found = find(Root(), script)
    assert found.interpreters == (b"/bin/sh",)
    assert found.program == b"/bin/sh"
    assert found.machine == machines.native_machine()
    assert found.libraries == find(Root(), b"/bin/sh").libraries
    assert found.loader == LOADER


@pytest.mark.parametrize(("scripts", "runs"), [(5, True), (6, False)])
def test_chain_of_scripts(scripts: int, runs: bool, tmp_path: Path) -> None:
    last, chain = b"/bin/echo", [b"/bin/echo"]
    for number in range(scripts):
        last = write_script(tmp_path / str(number), f"#!{os.fsdecode(last)}\n")
        chain.append(last)
    if runs:
        assert find(Root(), last).interpreters == tuple(chain[-2::-1])
        subprocess.run([last], check=True, capture_output=True)
        return
    with pytest.raises(ElfError) as caught:
        find(Root(), last)
    assert str(caught.value) == (
        f"cannot run {os.fsdecode(last)}: more than 5 interpreters follow from its #! line; "
        "name one that is a program"
    )
    with pytest.raises(OSError, match="symbolic links"):
        subprocess.run([last], check=True)


def test_a_relative_interpreter_is_seen_from_the_root(tmp_path: Path) -> None:
    script = write_script(tmp_path / "script", "#!bin/sh\n")
    assert find(Root(), script).interpreters == (b"/bin/sh",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            None, "cannot run {}: it does not exist; build or install it", id="absent"
        ),
        pytest.param(
            "echo\n",
            "cannot run {}: it is neither an ELF file nor a script with #!; "
            "name a program, or give the script its #! line",
            id="text",
        ),
        pytest.param(
            "#!/absent/sh\n",
            "cannot run {}: its interpreter /absent/sh does not exist; "
            "install it or fix the #! line",
            id="interpreter",
        ),
    ],
)  # fmt: skip
def test_what_cannot_run(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "program"
    if text is not None:
        write_script(path, text)
    with pytest.raises(ElfError) as caught:
        find(Root(), os.fsencode(path))
    assert str(caught.value) == message.format(path)


# Another architecture


def test_closure_in_a_base_for_arm64(tmp_path: Path) -> None:
    root = Root(WatchedFileSystem(base=os.fsencode(arm64.make_base(tmp_path / "base"))))

    text = closure.closures_text([find(root, b"/usr/bin/hello")])

    assert text == (
        b"/usr/bin/hello:\n"
        b"\tmachine 183 (aarch64)\n"
        b"\tlibc.so.6 => /lib/libc.so.6 (needed by /usr/bin/hello)\n"
        b"\t/lib/ld-linux-aarch64.so.1 (loader of /usr/bin/hello)\n"
    )


def a_closure(
    path: bytes = b"/p",
    *,
    interpreters: tuple[bytes, ...] = (),
    loader: bytes | None = None,
    static: bool = False,
    libraries: tuple[Library, ...] = (),
    missing: tuple[Missing, ...] = (),
) -> Closure:
    return Closure(path, interpreters, 62, loader, static, libraries, missing)


def test_the_text_of_closures() -> None:
    text = closure.closures_text(
        [
            a_closure(
                b"/usr/bin/a b",
                interpreters=(b"/bin/i", b"/bin/sh"),
                loader=b"/lib/ld.so",
                libraries=(
                    Library(b"libc.so.6", b"/lib/libc.so.6", b"/bin/sh"),
                    Library(b"/x\n.so", b"/x\n.so", b"/lib/libc.so.6"),
                    Library(b"libc.so.6", b"/lib/v/libc.so.6", b"/bin/sh", variant=True),
                ),
                missing=(Missing(b"libz.so.1", b"/bin/sh", ()),),
            ),
            a_closure(b"/sbin/init:", static=True),
        ]
    )
    assert text.decode() == (GOLDEN / "written.ldd").read_text()


def test_reads_back_what_it_writes() -> None:
    lines = (GOLDEN / "written.ldd").read_bytes().splitlines(keepends=True)
    text = b"".join(line for line in lines if b"not found" not in line)
    assert closure.read_closures(text) == (
        LddRow("program", b"/usr/bin/a b", None),
        LddRow("interpreter", b"/bin/i", b"/usr/bin/a b"),
        LddRow("interpreter", b"/bin/sh", b"/bin/i"),
        LddRow("library", b"/lib/libc.so.6", b"/bin/sh"),
        LddRow("library", b"/x\n.so", b"/lib/libc.so.6"),
        LddRow("library", b"/lib/v/libc.so.6", b"/bin/sh"),
        LddRow("loader", b"/lib/ld.so", b"/bin/sh"),
        LddRow("program", b"/sbin/init:", None),
    )


names = st.binary(min_size=1).map(lambda name: name.translate(None, b"\0/")).filter(len)
paths = st.lists(names, min_size=1, max_size=3).map(lambda parts: b"/" + b"/".join(parts))
libraries = st.builds(Library, names, paths, paths, st.booleans())
closures = st.builds(
    a_closure,
    paths,
    interpreters=st.lists(paths, max_size=2).map(tuple),
    loader=st.none() | paths,
    static=st.booleans(),
    libraries=st.lists(libraries, max_size=3).map(tuple),
)


@given(st.lists(closures, min_size=1, max_size=3))
def test_any_closures_are_read_back(written: list[Closure]) -> None:
    expected = []
    for found in written:
        users = (found.path, *found.interpreters)
        expected.append(LddRow("program", found.path, None))
        expected += [LddRow("interpreter", users[n + 1], users[n]) for n in range(len(users) - 1)]
        expected += [LddRow("library", each.path, each.needed_by) for each in found.libraries]
        if found.loader is not None:
            expected.append(LddRow("loader", found.loader, users[-1]))
    assert tuple(expected) == closure.read_closures(closure.closures_text(written))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param(
            "one.ldd",
            [
                LddRow("library", b"/lib/x86_64-linux-gnu/libselinux.so.1", None),
                LddRow("library", b"/lib/x86_64-linux-gnu/libc.so.6", None),
                LddRow("library", b"/lib/x86_64-linux-gnu/libpcre2-8.so.0", None),
                LddRow("loader", LOADER, None),
            ],
            id="one",
        ),
        pytest.param(
            "several.ldd",
            [
                LddRow("program", b"/usr/bin/cat", None),
                LddRow("library", LIBC, b"/usr/bin/cat"),
                LddRow("loader", LOADER, b"/usr/bin/cat"),
                LddRow("program", b"/usr/bin/ldd", None),
                LddRow("program", b"/sbin/ldconfig", None),
                LddRow("program", b"/tmp/captured/a b", None),
                LddRow("library", b"/tmp/captured/l i b/libx.so", b"/tmp/captured/a b"),
                LddRow("library", b"/tmp/captured/l i b/slash.so", b"/tmp/captured/a b"),
                LddRow("library", LIBC, b"/tmp/captured/a b"),
                LddRow("loader", LOADER, b"/tmp/captured/a b"),
            ],
            id="several",
        ),
        pytest.param(
            "musl.ldd",
            [
                LddRow("loader", b"/lib/ld-musl-x86_64.so.1", None),
                LddRow("loader", b"/lib/ld-musl-x86_64.so.1", None),
            ],
            id="musl",
        ),
        pytest.param("static.ldd", [], id="static"),
        pytest.param("script.ldd", [], id="script"),
    ],
)
def test_reads_what_ldd_printed(name: str, expected: list[LddRow]) -> None:
    assert expected == list(closure.read_closures((GOLDEN / name).read_bytes()))


def test_the_loader_of_other_distributions() -> None:
    text = (
        b"\tlinux-gate.so.1 =>  (0xb7700000)\n"
        b"\t/lib64/ld-linux-x86-64.so.2 => /usr/lib64/ld-linux-x86-64.so.2 (0x00007f)\n"
    )
    assert closure.read_closures(text) == (LddRow("loader", LOADER, None),)


def test_a_missing_library_in_a_captured_text() -> None:
    text = (GOLDEN / "missing.ldd").read_bytes()
    assert b"libx.so" not in {os.path.basename(row.path) for row in closure.read_closures(text)}
    (missing,) = closure.read_missing(text)
    assert (missing.name, missing.searched) == (b"libx.so", ())


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"./hello:", id="relative-program"),
        pytest.param(b"\tlinux-vdso.so.1 => nowhere", id="not-the-kernels"),
        pytest.param(b"/usr/bin/hello", id="no-colon"),
        pytest.param(b"\tlibx.so => ./libx.so (0x0)", id="relative-library"),
        pytest.param(b"\tVersion information:", id="verbose"),
        pytest.param(b"/usr/bin/a\\000b:", id="nul"),
        pytest.param(b"\t/usr/lib/\0.so", id="bare-nul"),
        pytest.param(b"ldd: ./x: No such file or directory", id="error"),
    ],
)
def test_a_line_that_ldd_does_not_print(line: bytes) -> None:
    with pytest.raises(InputError) as caught:
        closure.read_closures(b"/usr/bin/cat:\n" + line + b"\n")
    assert str(caught.value) == (
        "cannot read ldd text, line 2: it is not a line of ldd with an absolute path; "
        "run ldd with absolute paths and keep its output as it is"
    )


@pytest.mark.parametrize("text", [b"", b"\n\n"])
def test_a_text_of_nothing_is_not_ldds(text: bytes) -> None:
    with pytest.raises(InputError) as caught:
        closure.read_closures(text, "x.ldd")
    assert str(caught.value) == (
        "cannot read x.ldd: it is empty; delete it, and write it again by ldd or build it"
    )


pieces = st.sampled_from(
    [b"\t", b"/a", b" => ", b" (0x1)", b" (needed by /b)", b"not found", b":", b"\n", b"\\0", b"x"]
)


@given(st.binary() | st.lists(pieces | st.binary(max_size=3)).map(b"".join))
def test_any_text_is_read_or_refused(text: bytes) -> None:
    try:
        rows = closure.read_closures(text)
    except InputError as error:
        assert re.match(r"cannot (read|use) ldd text(, line \d+)?: ", str(error))
    else:
        assert all(row.path.startswith(b"/") and b"\0" not in row.path for row in rows)


@pytest.mark.parametrize(
    ("text", "machine"),
    [
        pytest.param(b"/a:\n\tmachine 183 (aarch64)\n/b:\n\tmachine 3 (i386)\n", 183, id="first"),
        pytest.param(b"\tlibc.so.6 => /lib/libc.so.6 (0x1)\n", None, id="as ldd printed it"),
        pytest.param(b"\tmachine 99999999 (x)\n", None, id="no number of 16 bits"),
    ],
)
def test_machine_of_an_ldd_text(text: bytes, machine: int | None) -> None:
    assert machine == closure.machine_number(text)
