from __future__ import annotations

from pathlib import Path

import pytest
from examined import examine, write_elf
from scratch_image.files import data_directories
from scratch_image.files.own_code import own_code
from scratch_image.trace.record import Use, Used

JVM = "/usr/lib/jvm/java-17"


@pytest.fixture
def base(tmp_path: Path) -> Path:
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


def _find(base: Path, *listed: str, executed: str = "") -> list[str]:
    uses = [Used(Use.READ, path.encode()) for path in listed]
    uses += [Used(Use.EXEC, executed.encode())] if executed else []
    image = examine(base, *listed, uses=tuple(uses))
    return [f"{each.rank} {each}" for each in data_directories.find(image, [*own_code(image, ())])]


def test_a_directory_that_a_run_listed_has_another_finding(base: Path) -> None:
    uses = (Used(Use.LIST, b"/usr/share/awk"), Used(Use.LIST, b"/usr/lib/x86_64-linux-gnu/awk"))
    image = examine(base, "/awk", uses=uses)

    assert [*data_directories.find(image, [*own_code(image, ())])] == []


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
    base: Path, listed: str, executed: str, found: list[str]
) -> None:
    assert _find(base, *listed.split(), executed=executed) == found
