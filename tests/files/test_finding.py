from __future__ import annotations

from pathlib import Path

import pytest
from examined import examine
from scratch_image.files.finding import Finding, Rank, lines, some
from scratch_image.trace.record import Use, Used


def test_the_likeliest_failure_comes_first() -> None:
    ranks = [Rank.REMARK, Rank.POSSIBLE, Rank.BROKEN, Rank.LIKELY]

    findings = sorted(Finding(rank, "case", "cause", "fix it") for rank in ranks)

    assert [finding.rank for finding in findings] == [1, 2, 3, 4]
    assert str(findings[0]) == "case: cause; fix it"


def test_ten_findings_are_printed() -> None:
    findings = [Finding(Rank.LIKELY, f"case {at:02}", "cause", "fix it") for at in range(13)]

    assert lines(findings[:10], "x") == [*map(str, findings[:10])]
    assert lines(findings, "x") == [
        *map(str, findings[:10]), "and 3 findings more; scons report/x shows all"
    ]  # fmt: skip


def test_three_paths_are_named() -> None:
    assert some([b"/a"]) == "/a"
    assert some([b"/a", b"/b", b"/c", b"/d", b"/e"]) == "/a, /b, /c and 2 more"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name in ("data/a", "data/sub/b"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "data/link").symlink_to("sub")
    (tmp_path / "lib").symlink_to("data")
    return tmp_path


def test_files_of_a_list(base: Path) -> None:
    image = examine(base, "/data/a", uses=(Used(Use.EXEC, b"/data/a"), Used(Use.ABSENT, b"/x")))

    assert image.files(b"/lib") == [b"/data/a", b"/data/link", b"/data/sub/b"]
    assert image.count(image.files(b"/lib")) == (1, 3)
    assert (image.has(b"/lib/a"), image.has(b"/lib/sub/b")) == (True, False)
    assert image.used == {b"/data/a", b"/x"}
    assert image.executed == {b"/data/a"}


@pytest.mark.parametrize("directory", [b"/nowhere", b"/data/a"])
def test_no_directory_has_no_files(base: Path, directory: bytes) -> None:
    assert examine(base).names(directory) == examine(base).files(directory) == []
