from __future__ import annotations

from pathlib import Path

import pytest
from debs import install
from examined import examine, write_elf
from scratch_image.files import other_modes
from scratch_image.files.own_code import own_code
from scratch_image.trace.record import Use, Used


@pytest.fixture
def base(tmp_path: Path) -> Path:
    write_elf(
        tmp_path / "bin/git", "/usr/libexec/git", "/usr/bin/pager", "/usr/bin/absent", "/bin/data"
    )
    write_elf(tmp_path / "bin/gcc", "/usr/lib/gcc")
    write_elf(tmp_path / "bin/sqlite", "popen")
    write_elf(tmp_path / "bin/node")
    for name in ("bin/dash", "usr/bin/pager", "usr/bin/vi"):
        write_elf(tmp_path / name)
    for name in "abcd":
        write_elf(tmp_path / "usr/libexec/git" / name)
    for name in "ab":
        write_elf(tmp_path / "usr/lib/jvm/bin" / name)
    for name in ("cc1", "cc1plus", "liblto.so"):
        write_elf(tmp_path / "usr/lib/gcc" / name)
    (tmp_path / "usr/lib/gcc/data").write_text("")
    (tmp_path / "bin/data").write_text("")
    (tmp_path / "bin/sh").symlink_to("dash")
    (tmp_path / "tool").write_text("#!/bin/sh\n/usr/bin/pager; /usr/bin/vi\n")
    (tmp_path / "tool").chmod(0o755)
    return tmp_path


def _find(base: Path, *listed: str, executed: str = "") -> list[str]:
    uses = (Used(Use.EXEC, executed.encode()),) if executed else ()
    image = examine(base, *listed, uses=uses)
    code = [*own_code(image, other_modes.START_CALLS)]
    return [f"{each.rank} {each}" for each in sorted(other_modes.find_programs(image, code))]


OTHER = "3 an argument that starts another program: {}, and the image has none; {}"
IN = "2 an argument that starts another program of {0}: the image has {1}; list {0}"


@pytest.mark.parametrize(
    ("listed", "executed", "found"),
    [
        pytest.param("/bin/git", "",
                     [IN.format("/usr/libexec/git", "0 of its 4"),
                      OTHER.format("/bin/git can start /usr/bin/pager", "list /usr/bin/pager")],
                     id="paths and directory in a program"),
        pytest.param("/bin/git /usr/bin/pager /usr/libexec/git/a /usr/libexec/git/b "
                     "/usr/libexec/git/c /usr/libexec/git/d", "", [], id="all is listed"),
        pytest.param("/bin/sqlite", "",
                     [OTHER.format("/bin/sqlite can start /bin/sh", "list /bin/sh")], id="shell"),
        pytest.param("/bin/node", "",
                     [OTHER.format("/bin/node can start /bin/sh", "list /bin/sh")], id="Node.js"),
        pytest.param("/bin/sqlite /bin/dash", "", [OTHER.format("x", "x")][1:],
                     id="listed target of the shell's link"),
        pytest.param("/bin/gcc", "", [], id="few programs of which none was executed"),
        pytest.param("/usr/lib/gcc/cc1", "/usr/lib/gcc/cc1",
                     [IN.format("/usr/lib/gcc", "1 of its 2")], id="directory of a started one"),
        pytest.param("/usr/bin/vi", "/usr/bin/vi", [], id="directory on a search path"),
        pytest.param("/usr/lib/jvm/bin/a", "/usr/lib/jvm/bin/a", [], id="bin of its own"),
        pytest.param("/tool", "/tool",
                     [OTHER.format("/tool can start /usr/bin/pager, /usr/bin/vi",
                                   "list those that it may start")], id="script"),
    ],
)  # fmt: skip
def test_findings(base: Path, listed: str, executed: str, found: list[str]) -> None:
    assert _find(base, *listed.split(), executed=executed) == found


WRAPPER = (
    '2 a command for /start: it becomes the program that its words name (exec "$@"), and no run '
    "gave it one; add a run that does (RUNS='start PROGRAM')"
)


@pytest.mark.parametrize(
    ("text", "executed", "found"),
    [
        pytest.param('exec "$@"', "/start /bin/dash /lib/ld.so", [WRAPPER], id="no program"),
        pytest.param("  exec ${@} # now", "/start /bin/dash", [WRAPPER], id="without quotes"),
        pytest.param('exec "$@"', "/start /bin/dash /usr/bin/vi", [], id="a program"),
        pytest.param('exec "$@"', "/bin/dash", [], id="script that no run started"),
        pytest.param("exec vi", "/start /bin/dash", [], id="program of its own"),
        pytest.param('# exec "$@"', "/start /bin/dash", [], id="comment"),
    ],
)
def test_wrapper_without_a_program(base: Path, text: str, executed: str, found: list[str]) -> None:
    (base / "start").write_text(f"#!/bin/sh\nset -e\n{text}\n")
    (base / "start").chmod(0o755)
    uses = tuple(Used(Use.EXEC, path.encode()) for path in executed.split())
    image = examine(base, "/start", uses=uses)

    code = [*own_code(image, other_modes.START_CALLS)]

    assert [f"{each.rank} {each}" for each in other_modes.find_wrappers(image, code)] == found


def test_programs_that_can_start_the_same_share_a_line(base: Path) -> None:
    write_elf(base / "bin/awk", "system")

    assert _find(base, "/bin/awk", "/bin/sqlite") == [
        OTHER.format("/bin/awk, /bin/sqlite can start /bin/sh", "list /bin/sh")
    ]


@pytest.mark.parametrize(
    ("strings", "starts"),
    [
        pytest.param(["execvp", "%{!S:as -o %o}"], True, id="command"),
        pytest.param(["posix_spawnp", "x | \tas $NAME"], True, id="command in a line"),
        pytest.param(["%{!S:as -o %o}"], False, id="no call that starts programs"),
        pytest.param(["execvp", "as", "such as this", "as it is", "was -x"], False, id="word"),
        pytest.param(["execvp", "x; sort -n"], False, id="program of another package"),
    ],
)
def test_commands_of_needed_packages(base: Path, strings: list[str], starts: bool) -> None:
    more = "Depends: libx | none, binutils:any (>= 2)\n"
    install(base, "binutils:amd64", {"/usr/bin/as": "", "/usr/share/as/as": ""})
    install(base, "coreutils", {"/usr/bin/sort": ""})
    install(base, "gcc", {"/bin/driver": ""}, more=more)
    write_elf(base / "bin/driver", *strings)
    for name in ("as", "sort"):
        write_elf(base / "usr/bin" / name)

    found = _find(base, "/bin/driver")

    told = OTHER.format("/bin/driver can start /usr/bin/as", "list /usr/bin/as")
    assert found == [told] * starts
    assert _find(base, "/bin/driver", "/usr/bin/as") == []


JVM = "/usr/lib/jvm/java-17"


@pytest.fixture
def directories(tmp_path: Path) -> Path:
    write_elf(
        tmp_path / "awk", ".:/usr/share/awk", "/usr/lib/x86_64-linux-gnu/awk", "/usr/share/absent"
    )
    write_elf(tmp_path / "tcl", "/usr/share/tcl/tcl8", "/usr/share/tcl", "/usr/include/tcl")
    write_elf(tmp_path / "cc", "/usr/include/tcl", "/usr/lib/cc/../cc")
    write_elf(
        tmp_path / "shared",
        "/usr/share/zoneinfo",
        "/usr/share/doc/x",
        "/usr/lib/python3",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/share",
        "/usr/lib/cc/../cc",
        "/usr/share/few",
    )
    write_elf(tmp_path / JVM[1:] / "bin/java", "/usr/lib/jvm")
    for directory in (
        "usr/share/awk", "usr/lib/x86_64-linux-gnu/awk", "usr/share/tcl/tcl8", "usr/include/tcl",
        "usr/share/zoneinfo", "usr/share/doc/x", "usr/lib/python3", "usr/lib/cc",
        "usr/lib/jvm/java-17/lib", "usr/lib/jvm/java-11/lib",
    ):  # fmt: skip
        (tmp_path / directory).mkdir(parents=True)
        for name in "abcd":
            (tmp_path / directory / name).write_text("")
    (tmp_path / "usr/share/few").mkdir()
    (tmp_path / "usr/share/few/a").write_text("")
    return tmp_path


def _find_directories(directories: Path, *listed: str, executed: str = "") -> list[str]:
    uses = [Used(Use.READ, path.encode()) for path in listed]
    uses += [Used(Use.EXEC, executed.encode())] if executed else []
    image = examine(directories, *listed, uses=tuple(uses))
    return [
        f"{each.rank} {each}"
        for each in other_modes.find_directories(image, [*own_code(image, ())])
    ]


def test_a_directory_that_a_run_listed_has_another_finding(directories: Path) -> None:
    uses = (Used(Use.LIST, b"/usr/share/awk"), Used(Use.LIST, b"/usr/lib/x86_64-linux-gnu/awk"))
    image = examine(directories, "/awk", uses=uses)

    assert [*other_modes.find_directories(image, [*own_code(image, ())])] == []


def _line(directory: str, counts: str) -> str:
    return (
        f"3 an input that needs another file of {directory}: the image has {counts}; "
        f"list {directory}"
    )


AWK = "/usr/share/awk/"


@pytest.mark.parametrize(
    ("listed", "executed", "found"),
    [
        pytest.param("/awk", "", [_line("/usr/lib/x86_64-linux-gnu/awk", "0 of its 4"),
                                  _line("/usr/share/awk", "0 of its 4")],
                     id="directory by name, and in a search path"),
        pytest.param(f"/awk {AWK}a {AWK}b {AWK}c {AWK}d", "",
                     [_line("/usr/lib/x86_64-linux-gnu/awk", "0 of its 4")], id="all is listed"),
        pytest.param("/tcl", "", [_line("/usr/share/tcl/tcl8", "0 of its 4")],
                     id="the deepest of nested ones, and no headers for others"),
        pytest.param("/cc /usr/include/tcl/a", "", [_line("/usr/include/tcl", "1 of its 4")],
                     id="headers of which a run used one"),
        pytest.param("/shared", "", [], id="shared, of interpreters, indirect or nearly empty"),
        pytest.param(f"{JVM}/bin/java {JVM}/lib/a", f"{JVM}/bin/java",
                     [_line(JVM, "2 of its 5")], id="directory of a started program"),
    ],
)  # fmt: skip
def test_finds_directories_of_own_code(
    directories: Path, listed: str, executed: str, found: list[str]
) -> None:
    assert _find_directories(directories, *listed.split(), executed=executed) == found
