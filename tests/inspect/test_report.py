"""The report: what it tells, and that a browser shows it, whatever names files have."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scratch_image.errors import InputError
from scratch_image.files.file_list import Entry
from scratch_image.fs.digest import Digest
from scratch_image.inspect import report
from scratch_image.inspect.report import Content, Report, Run
from scratch_image.trace.strace import Use
from scratch_image.trace.tracer import Record, Used
from tars import member, packed

HOSTILE = "/srv/</script><img src=x onerror=alert(1)>{{name}}&amp;"

SHOWN = HOSTILE.replace(" ", "\\040")


def _file(path: str, *reasons: str, kind: str = "file", target: str = "") -> Entry:
    return Entry(kind, 0o644, 0, 0, os.fsencode(path), target.encode(), reasons)


ENTRIES = (
    _file("/usr/bin", "parent", kind="dir"),
    _file("/usr/bin/hello", "program", "run:one", "run:two"),
    _file("/usr/lib/libc.so", "needed-by:/usr/bin/hello", "run:one"),
    _file("/usr/share/one", "run:one"),
    _file("/usr/share/both", "run:one", "run:two"),
    _file("/usr/share/two", "listed-by:two", kind="link", target="both"),
    _file("/etc/passwd", "preset:passwd"),
    _file(HOSTILE, "extra:hello.extra"),
    _file("/usr/share/\udcff", "staged"),
)


def _report(sizes: dict[str, int] | None = None, **more: Any) -> Report:
    sizes = {"/usr/bin/hello": 4000, "/usr/lib/libc.so": 2000000, HOSTILE: 1, **(sizes or {})}
    contents = {
        os.fsencode(path): Content(size, Digest.of(str(size).encode()))
        for path, size in sizes.items()
    }
    record = Record((Used(Use.ABSENT, b"/etc/x"), Used(Use.READ, b"/usr/share/one")))
    runs = [Run("one", "hello <one>", record), Run("two", "hello two", Record(()))]
    return Report(
        **{
            "name": "hello & more",
            "entries": ENTRIES,
            "contents": contents,
            "runs": runs,
            "findings": ["<b>x</b> calls y"],
            "packages": {},
            **more,
        }
    )


def _data(page: bytes) -> Any:
    found = re.search(rb'id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_page_has_the_files_in_their_order() -> None:
    files = _data(report.page(_report(), b""))["files"]

    assert [each["path"] for each in files][-2:] == [SHOWN, "/usr/share/\\377"]
    assert files[1] == {
        "path": "/usr/bin/hello",
        "kind": "file",
        "mode": "0644",
        "owner": "0:0",
        "target": "",
        "size": 4000,
        "digest": Digest.of(b"4000").hex,
        "reasons": ["program", "run:one", "run:two"],
        "group": "the program",
        "package": "",
    }
    assert [each["group"] for each in files] == [
        "links and directories on the way",
        "the program",
        "libraries",
        "run one",
        "run one and two",
        "directories listed by run two",
        "preset passwd",
        "extra list hello.extra",
        "the project",
    ]


def test_what_a_link_leads_to_is_in_the_group_of_the_link() -> None:
    entries = [
        _file("/lib/a.so", "needed-by:/x", kind="link", target="b.so"),
        _file("/lib/b.so", "run:one", "target-of:/lib/a.so", kind="link", target="c.so"),
        _file("/lib/c.so", "run:one", "target-of:/lib/b.so", "target-of:/lib/c.so"),
        _file("/lib/d", "run:one", "target-of:/gone"),
    ]

    files = _data(report.page(_report(entries=entries), b""))["files"]

    assert [each["group"] for each in files] == ["libraries"] * 3 + ["run one"]


def test_runs_have_what_they_used_and_what_only_they_brought() -> None:
    runs = _data(report.page(_report(), b""))["runs"]

    assert runs == [
        {"name": "one", "command": "hello <one>", "absent": 1, "used": [1, 2, 3, 4], "only": [3]},
        {"name": "two", "command": "hello two", "absent": 0, "used": [1, 2, 4, 5], "only": [5]},
    ]


def _bigger() -> Report:
    return _report({"/usr/bin/hello": 5000})


def _other_files() -> Report:
    chmod = Entry("file", 0o755, 0, 0, b"/usr/share/one", b"", ("run:one",))
    entries = [each for each in ENTRIES if each.path not in (b"/etc/passwd", b"/usr/share/one")]
    return _report({"/new": 7}, entries=[*entries, chmod, _file("/new", "staged")])


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        pytest.param(_report, [], id="nothing"),
        pytest.param(_bigger, ["changed /usr/bin/hello 4000 5000"], id="content"),
        pytest.param(_other_files,
                     ["removed /etc/passwd 0 0", "added /new 0 7", "changed /usr/share/one 0 0"],
                     id="files and modes"),
        pytest.param(lambda: _report(findings=[], packages={b"/etc/passwd": "x"}), [],
                     id="what is no file's"),
    ],
)  # fmt: skip
def test_page_tells_what_changed_since_the_earlier_one(
    make: Callable[[], Report], changes: list[str]
) -> None:
    first = report.page(_report({"/usr/lib/libc.so": 3}), b"")
    second = report.page(_report(), first)

    third = report.page(make(), second)

    found = [" ".join(map(str, _ordered(each))) for each in _data(third)["changes"]]
    assert found == (changes or ["changed /usr/lib/libc.so 3 2000000"])
    assert report.page(make(), third) == third


def _ordered(change: dict[str, Any]) -> list[Any]:
    return [change[key] for key in ("what", "path", "before", "after")]


@pytest.mark.parametrize(
    "earlier",
    [
        pytest.param(b"", id="none"),
        pytest.param(b"<html>", id="no data"),
        pytest.param(b'<script type="application/json" id="data">{</script>', id="no JSON"),
        pytest.param(b'<script type="application/json" id="data">[]</script>', id="no object"),
        pytest.param(b'<script type="application/json" id="data">{"files":[{}]}</script>',
                     id="no files"),
        pytest.param(b'<script type="application/json" id="data">'
                     b'{"files":[{"path":"/usr/bin/hello"}],"changes":[]}</script>',
                     id="files that say nothing"),
    ],
)  # fmt: skip
def test_page_without_an_earlier_one_compares_nothing(earlier: bytes) -> None:
    assert _data(report.page(_report(), earlier))["changes"] is None


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.zst"])
def test_contents_are_those_of_the_layer(tmp_path: Path, suffix: str) -> None:
    members = [member("etc/x"), member("srv", tarfile.DIRTYPE), member("srv/\udcff")]
    layer = packed(tmp_path, *members, suffix=suffix)

    assert report.contents([layer]) == {
        b"/etc/x": Content(5, Digest.of(b"etc/x")),
        b"/srv/\xff": Content(5, Digest.of(b"srv/\xff")),
    }


def test_layer_that_is_none_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"x" * 2000)

    with pytest.raises(
        InputError, match=r"cannot report on layer .*/x.tar: it is not a whole tar \("
    ):
        report.contents([os.fsencode(tmp_path / "x.tar")])


# In a browser


def _shown(tmp_path: Path, made: bytes) -> str:
    """Return the document that Chromium makes of the page `made`, without its scripts."""
    (tmp_path / "x.report.html").write_bytes(made)
    chromium = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000",
        f"--user-data-dir={tmp_path}/profile", "--window-size=1200,900", "--dump-dom",
        f"file://{tmp_path}/x.report.html",
    ]  # fmt: skip
    ran = subprocess.run(chromium, capture_output=True, text=True, timeout=60, check=True)
    return re.sub(r"<(script|style).*?</\1>", "", ran.stdout, flags=re.DOTALL)


def _texts(shown: str, start: str) -> list[str]:
    return [html.unescape(text) for text in re.findall(rf"<{start}[^>]*>([^<]*)<", shown)]


def test_browser_shows_all_of_it(tmp_path: Path) -> None:
    first = report.page(_report({"/usr/lib/libc.so": 3}), b"")
    shown = _shown(tmp_path, report.page(_report(), first))

    assert _texts(shown, "h1") == ["hello & more"]
    assert "9 paths, 2.0 MB, 2 runs" in shown
    assert _texts(shown, "li")[:1] == ["<b>x</b> calls y"]
    assert 'class="tile' in shown
    assert " by reason" in shown
    assert " by package" not in shown
    assert "1 path, +2.0 MB against the last report that was different." in shown
    assert "1 path (0 bytes) would not be here without it" in shown
    table = shown[shown.index('id="files"') :]
    assert _texts(table, 'td class="path first"') == [
        "/usr/lib/libc.so", "/usr/bin/hello", SHOWN, "/usr/bin", "/usr/share/one",
        "/usr/share/both", "/usr/share/two → both", "/etc/passwd", "/usr/share/\\377",
    ]  # fmt: skip
    assert 'aria-sort="descending"' in table
    assert "<img" not in shown


def test_browser_shows_packages_where_they_are_known(tmp_path: Path) -> None:
    packages = {b"/usr/lib/libc.so": "libc6"}
    shown = _shown(tmp_path, report.page(_report(packages=packages), b""))

    assert " by package" in shown
    assert "libc6" in _texts(shown, 'td class="word"')
    assert "no earlier report had other files" in shown


def test_browser_shows_an_image_of_nothing(tmp_path: Path) -> None:
    nothing = _report(entries=(), contents={}, runs=[], findings=[])
    shown = _shown(tmp_path, report.page(nothing, b""))

    for text in ("0 paths", "The image has no bytes.", "No run was traced.", "Lint has found"):
        assert text in shown


@pytest.mark.parametrize(
    ("script", "paths"),
    [
        pytest.param("document.querySelector('.tile .tile').click()",
                     ["/usr/lib/libc.so"], id="click on a tile"),
        pytest.param("at('search').value = 'RUN:two hello'; showFiles()", ["/usr/bin/hello"],
                     id="words of path and reasons"),
        pytest.param("document.querySelector('#files th button').click(); "
                     "at('search').value = '/usr/share'; showFiles()",
                     ["/usr/share/\\377", "/usr/share/both", "/usr/share/one",
                      "/usr/share/two → both"], id="sorted by path"),
        pytest.param("document.querySelectorAll('#groups input')[1].click(); "
                     "document.querySelector('.tile').click()",
                     ["/usr/lib/libc.so"], id="by reason"),
        pytest.param("most = 1; at('search').value = 'hello'; showFiles()", ["/usr/lib/libc.so"],
                     id="the first of many"),
        pytest.param("most = 1; showFiles(); at('more').click(); at('search').value = 'bin';"
                     "showFiles()", ["/usr/lib/libc.so", "/usr/bin/hello", "/usr/bin"], id="all"),
    ],
)  # fmt: skip
def test_browser_finds_and_sorts(tmp_path: Path, script: str, paths: list[str]) -> None:
    page = report.page(_report(), b"").replace(
        b"</body>", b"<script>%s</script></body>" % script.encode()
    )

    table = _shown(tmp_path, page).partition('id="files"')[2]

    assert _texts(table, 'td class="path first"') == paths


def test_page_asks_no_network_for_anything() -> None:
    page = report.page(_report(), b"").decode()

    assert "default-src 'none'" in page
    assert re.findall(r"https?://|src=|href=|@import|url\(", page) == ["src="]
