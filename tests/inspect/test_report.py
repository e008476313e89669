"""The report: it has all facts, and a browser shows them, whatever names files have."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import Browser
from scratch_image.files.entry import Entry
from scratch_image.fs.digest import Digest
from scratch_image.inspect import report
from scratch_image.inspect.report import Report, RunSummary
from scratch_image.inspect.report_facts import Content, ImageFacts, LayerFacts
from scratch_image.trace.record import Record, Use, Used

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

IMAGE = ImageFacts(
    Digest.of(b"config"),
    Digest.of(b"manifest"),
    [Digest.of(b"layer")],
    {
        "Tags": ["example/hello:1"],
        "Entrypoint": ["/usr/bin/hello <one>"],
        "Environment": ["A=1", "B=2"],
        "Labels": [],
    },
)


def _report(sizes: dict[str, int] | None = None, **more: Any) -> Report:
    sizes = {"/usr/bin/hello": 4000, "/usr/lib/libc.so": 2000000, HOSTILE: 1, **(sizes or {})}
    contents = {
        os.fsencode(path): Content(size, Digest.of(str(size).encode()))
        for path, size in sizes.items()
    }
    record = Record((Used(Use.ABSENT, b"/etc/x"), Used(Use.READ, b"/usr/share/one")))
    return Report(
        **{
            "name": "hello & more",
            "entries": ENTRIES,
            "layers": [LayerFacts("all <files>", 1_000_000, 2_010_000, contents)],
            "runs": [
                RunSummary("one", "hello <one>", record),
                RunSummary("two", "hello two", Record(())),
            ],
            "findings": ["<b>x</b> calls y"],
            "packages": {},
            "image": IMAGE,
            **more,
        }
    )


def _data(page: bytes) -> Any:
    found = re.search(rb'id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def _files(made: Report) -> list[dict[str, Any]]:
    columns = _data(report.page(made, b""))["files"]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def test_page_has_the_files_in_their_order() -> None:
    files = _files(_report())

    assert [each["path"] for each in files][-2:] == [SHOWN, "/usr/share/\\377"]
    assert files[1] == {
        "path": "/usr/bin/hello",
        "kind": "file",
        "mode": "0644",
        "owner": "0:0",
        "target": "",
        "size": 4000,
        "digest": Digest.of(b"4000").hex,
        "reasons": "program run:one run:two",
        "cause": "program",
        "group": "the program",
        "package": "",
    }
    assert [f"{each['cause']}: {each['group']}" for each in files] == [
        "rest: links and parent directories",
        "program: the program",
        "library: libraries",
        "run: run one",
        "run: run one and two",
        "listed: directories listed by run two",
        "preset: preset passwd",
        "extra: extra list hello.extra",
        "project: the project",
    ]


def test_target_of_a_link_is_in_the_group_of_the_link() -> None:
    entries = [
        _file("/lib/a.so", "needed-by:/x", kind="link", target="b.so"),
        _file("/lib/b.so", "run:one", "target-of:/lib/a.so", kind="link", target="c.so"),
        _file("/lib/c.so", "run:one", "target-of:/lib/b.so", "target-of:/lib/c.so"),
        _file("/lib/d", "run:one", "target-of:/gone"),
    ]

    files = _files(_report(entries=entries))

    assert [each["group"] for each in files] == ["libraries"] * 3 + ["run one"]


def test_runs_have_the_paths_that_they_used_and_those_of_theirs_alone() -> None:
    runs = _data(report.page(_report(), b""))["runs"]

    assert runs == [
        {"name": "one", "command": "hello <one>", "absent": 1, "used": [1, 2, 3, 4], "only": [3]},
        {"name": "two", "command": "hello two", "absent": 0, "used": [1, 2, 4, 5], "only": [5]},
    ]


def test_page_has_image_and_layers() -> None:
    data = _data(report.page(_report(), b""))

    assert data["image"] == {
        "id": str(Digest.of(b"config")),
        "manifest": str(Digest.of(b"manifest")),
        "settings": IMAGE.settings,
    }
    assert data["layers"] == [
        {
            "name": "all <files>",
            "digest": str(Digest.of(b"layer")),
            "files": 3,
            "size": 2_010_000,
            "compressed": 1_000_000,
        }
    ]


# The earlier page


def _bigger() -> Report:
    return _report({"/usr/bin/hello": 5000})


def _other_files() -> Report:
    chmod = Entry("file", 0o755, 0, 0, b"/usr/share/one", b"", ("run:one",))
    entries = [each for each in ENTRIES if each.path not in (b"/etc/passwd", b"/usr/share/one")]
    return _report({"/new": 7}, entries=[*entries, chmod, _file("/new", "staged")])


def _other_image() -> ImageFacts:
    return replace(IMAGE, id=Digest.of(b"other"), settings={**IMAGE.settings, "Labels": ["a=b"]})


@pytest.mark.parametrize(
    ("make", "paths"),
    [
        pytest.param(_report, [], id="nothing"),
        pytest.param(_bigger, ["changed /usr/bin/hello 4000 5000"], id="content"),
        pytest.param(_other_files,
                     ["removed /etc/passwd 0 0", "added /new 0 7", "changed /usr/share/one 0 0"],
                     id="files and modes"),
        pytest.param(lambda: _report(findings=[], packages={b"/etc/passwd": "x"}), [],
                     id="findings and packages"),
    ],
)  # fmt: skip
def test_page_has_the_changes_since_the_earlier_one(
    make: Callable[[], Report], paths: list[str]
) -> None:
    first = report.page(_report({"/usr/lib/libc.so": 3}), b"")
    second = report.page(_report(), first)

    third = report.page(make(), second)

    found = [" ".join(map(str, _in_order(each))) for each in _data(third)["changes"]["paths"]]
    assert found == (paths or ["changed /usr/lib/libc.so 3 2000000"])
    assert report.page(make(), third) == third


def _in_order(change: dict[str, Any]) -> list[Any]:
    return [change[key] for key in ("what", "path", "before", "after")]


def test_changes_have_totals_and_settings() -> None:
    first = report.page(_report(), b"")

    second = report.page(_report({"/new": 7}, image=_other_image(), entries=ENTRIES[1:]), first)

    changes = _data(second)["changes"]
    ids = [str(Digest.of(text)) for text in (b"config", b"other")]
    assert changes["before"] == {
        "image": ids[0], "paths": 9, "size": 2_004_001, "compressed": 1_000_000,
    }  # fmt: skip
    assert changes["after"] == {**changes["before"], "image": ids[1], "paths": 8}
    assert changes["settings"] == [{"name": "Labels", "before": [], "after": ["a=b"]}]


@pytest.mark.parametrize(
    ("before", "after", "settings"),
    [
        pytest.param(IMAGE, _other_image(), ["Labels"], id="other settings"),
        pytest.param(IMAGE, replace(IMAGE, id=Digest.of(b"x")), [], id="other ID"),
        pytest.param(IMAGE, None, None, id="none any longer"),
        pytest.param(None, IMAGE, None, id="none before"),
    ],
)
def test_image_that_differs_is_a_change(
    before: ImageFacts | None, after: ImageFacts | None, settings: list[str] | None
) -> None:
    first = report.page(_report(image=before), b"")

    changes = _data(report.page(_report(image=after), first))["changes"]

    names = changes and [each["name"] for each in changes["settings"]]
    assert names == settings


@pytest.mark.parametrize(
    "earlier",
    [
        pytest.param(b"", id="none"),
        pytest.param(b"<html>", id="no data"),
        pytest.param(b"{", id="no JSON"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b'{"files":[{}]}', id="no files"),
        pytest.param(b'{"files":{"path":["/usr/bin/hello"]},"changes":null}', id="paths alone"),
        pytest.param(b'{"files":{"path":[[]],"kind":[1],"mode":[1],"owner":[1],"target":[1],'
                     b'"size":[1],"digest":[1]},"changes":null}', id="paths that are none"),
        pytest.param(b'{"files":{"path":["/x"],"kind":[1],"mode":[1],"owner":[1],"target":[1],'
                     b'"size":[NaN],"digest":[1]},"changes":null}', id="sizes that are none"),
    ],
)  # fmt: skip
def test_page_without_an_earlier_one_compares_nothing(earlier: bytes) -> None:
    page = b'<script type="application/json" id="data">%s</script>' % earlier

    for text in (earlier, page):
        assert _data(report.page(_report(), text))["changes"] is None


def test_changes_of_another_shape_are_not_shown() -> None:
    page = report.page(_report(), b"").replace(b'"changes":null', b'"changes":{"paths":[]}')

    assert _data(report.page(_report(), page))["changes"] is None


# In a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Give a browser, which takes a second to start."""
    with Browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Callable[..., Browser]:
    """Give a function that shows a report on a screen of some width."""

    def open_page(made: Report | None = None, earlier: bytes = b"", **screen: Any) -> Browser:
        path = tmp_path / "x.report.html"
        path.write_bytes(report.page(made or _report(), earlier))
        browser.open(path, **screen)
        return browser

    return open_page


TEXTS = "[...document.querySelectorAll(%s)].map((each) => each.textContent)"


def _texts(browser: Browser, selector: str) -> list[str]:
    found: list[str] = browser.run(TEXTS % json.dumps(selector))
    return found


def _paths(browser: Browser) -> list[str]:
    return _texts(browser, "#files tbody td:first-child")


def test_browser_shows_all_of_it(show: Callable[..., Browser]) -> None:
    browser = show(earlier=report.page(_report({"/usr/lib/libc.so": 3}, image=_other_image()), b""))

    assert _texts(browser, "h1") == ["hello & more"]
    assert _texts(browser, "#tags li") == ["example/hello:1"]
    figures = ["2.0 MB", "1.0 MB", "9", "1", "2"]
    assert _texts(browser, "#figures dd") == figures
    assert _texts(browser, "#groups label") == ["By directory", "By reason"]
    assert _texts(browser, "#settings dd")[2:] == ["/usr/bin/hello <one>", "A=1B=2"]
    assert _texts(browser, "#settings p") == ["Not set: labels."]
    layer = ["all <files>", "3", "2.0 MB", "1.0 MB", str(Digest.of(b"layer"))]
    assert _texts(browser, "#layers td") == layer
    assert _texts(browser, "#compare tr:nth-child(2) td") == ["4.0 kB", "2.0 MB", "+2.0 MB"]
    assert _texts(browser, "#changes h3") == ["Settings", "Paths: 1 changed"]
    assert _texts(browser, "#changes .list td") == [
        "Labels", "a=b", "not set", "changed", "/usr/lib/libc.so", "3 bytes", "2.0 MB",
    ]  # fmt: skip
    assert _texts(browser, "#lint li") == ["<b>x</b> calls y"]
    assert _texts(browser, "#runs summary")[1] == (
        "two used 4 paths (2.0 MB) and looked for 0 absent paths; "
        "without it, 1 path (0 bytes) would be missing"
    )
    assert _paths(browser) == [
        "/usr/lib/libc.so", "/usr/bin/hello", SHOWN, "/usr/bin", "/usr/share/one",
        "/usr/share/both", "/usr/share/two → both", "/etc/passwd", "/usr/share/\\377",
    ]  # fmt: skip
    assert browser.run("document.querySelectorAll('img, [onerror]').length") == 0


def test_browser_shows_packages_where_they_are_known(show: Callable[..., Browser]) -> None:
    browser = show(_report(packages={b"/usr/lib/libc.so": "libc6"}))

    assert _texts(browser, "#groups label")[2:] == ["By package"]
    assert "libc6" in _texts(browser, "#files td.word")
    assert "no earlier report" in _texts(browser, "#changes p")[0]


def test_browser_shows_an_image_of_nothing(show: Callable[..., Browser]) -> None:
    nothing = _report(entries=(), layers=[], runs=[], findings=[], image=None)

    text = show(nothing).run("document.body.innerText")

    for part in (
        "The image has no files.", "No run was traced.", "Lint has found nothing.",
        "made without the image archive", "The layers are not known.", "0 of 0 paths",
    ):  # fmt: skip
        assert part in text


@pytest.mark.parametrize(
    ("script", "paths"),
    [
        pytest.param("document.querySelector('.tile.file').click()", ["/usr/lib/libc.so"],
                     id="click on a tile"),
        pytest.param("at('search').value = 'RUN:two hello'; showFiles()", ["/usr/bin/hello"],
                     id="words of path and reasons"),
        pytest.param("document.querySelector('#files th button').click(); "
                     "at('search').value = '/usr/share'; showFiles()",
                     ["/usr/share/\\377", "/usr/share/both", "/usr/share/one",
                      "/usr/share/two → both"], id="sorted by path"),
        pytest.param("document.querySelectorAll('#groups input')[1].click(); "
                     "tiles()[0].click(); tiles()[0].click()",
                     ["/usr/lib/libc.so"], id="by reason"),
        pytest.param("tiles()[0].click(); document.querySelector('#list').click()",
                     ["/usr/lib/libc.so", "/usr/bin/hello", "/usr/bin", "/usr/share/one",
                      "/usr/share/both", "/usr/share/two → both", "/usr/share/\\377"],
                     id="a directory"),
        pytest.param("most = 1; at('search').value = 'hello'; showFiles()", ["/usr/lib/libc.so"],
                     id="the first of many"),
        pytest.param("most = 1; showFiles(); at('more').click(); at('search').value = 'bin';"
                     "showFiles()", ["/usr/lib/libc.so", "/usr/bin/hello", "/usr/bin"], id="all"),
    ],
)  # fmt: skip
def test_browser_finds_and_sorts(
    show: Callable[..., Browser], script: str, paths: list[str]
) -> None:
    browser = show()

    browser.run(f"{script}; 0")

    assert _paths(browser) == paths


def test_long_lists_are_shown_in_parts(show: Callable[..., Browser]) -> None:
    entries = [_file(f"/srv/{number}", "run:one") for number in range(1500)]
    earlier = report.page(_report(entries=entries[:950]), b"")
    browser = show(_report(entries=entries), earlier)

    assert _texts(browser, "button.more") == [
        "Show 500 more of 530",
        "Show 500 more of 1,400",
        "Show 1,000 more of 1,300",
    ]
    browser.run("document.querySelectorAll('button.more').forEach((each) => each.click()); 0")

    assert _texts(browser, "button.more") == [
        "Show 30 more",
        "Show 500 more of 900",
        "Show 300 more",
    ]
    assert len(_paths(browser)) == 1200
    assert len(_texts(browser, "#changes tbody tr td.path")) == 520


# The map


def _many() -> Report:
    """Return the report of a large image: one directory has nearly all bytes."""
    tops = ("bin", "etc", "home", "lib64", "opt", "root", "run", "sbin", "srv", "tmp", "var")
    paths = ["/usr/bin/hello", *(f"/{top}/a/{number}" for top in tops for number in range(3))]
    paths += [f"/usr/lib/x86_64-linux-gnu/lib{number}.so.{number % 7}" for number in range(300)]
    entries = [
        *(_file(path, "program" if path == paths[0] else "run:one") for path in paths),
        _file("/lib", "run:one", kind="link", target="usr/lib"),
        _file("/proc", "parent", kind="dir"),
        _file(HOSTILE, "staged"),
        _file(f"/usr/share/{'long-' * 40}", "run:one"),
    ]
    sizes = {each: 1_000_000 + 997 * at for at, each in enumerate(paths) if each[:8] == "/usr/lib"}
    return _report(sizes, entries=entries)


VISIBLE_NAMES = """
[...document.querySelectorAll("#map > .tile, #map > .tile > .name")].map((each) => {
  const box = each.getBoundingClientRect(), map = at("map").getBoundingClientRect();
  const isInside = box.left >= map.left && box.right <= map.right + 1 && box.bottom <= map.bottom + 1;
  return [each.className, isInside && box.width >= 48 && box.height >= 16, each.textContent];
})
"""


def test_each_top_directory_has_a_name_in_the_map(show: Callable[..., Browser]) -> None:
    found = show(_many(), width=1400).run(VISIBLE_NAMES)

    assert all(is_visible for _, is_visible, _ in found)
    names = {
        text.strip("/").split("/")[0].split(" ")[0] for kind, _, text in found if "tile" not in kind
    }
    assert names == {
        *("bin", "etc", "home", "lib", "lib64", "opt", "proc", "root", "run", "sbin", "srv"),
        *("tmp", "usr", "var"),
    }


def test_map_shows_the_program_and_a_name_in_each_open_directory(
    show: Callable[..., Browser],
) -> None:
    browser = show(_many(), width=1400)

    assert _texts(browser, ".tile.program .name") == ["bin/hello"]
    assert browser.run("""[...document.querySelectorAll(".tile")].every((each) =>
        each.clientWidth >= 48 && each.clientHeight >= 18 && each.querySelector(".name"))""")


FOCUSED = (
    "document.activeElement.node ? document.activeElement.node.name : document.activeElement.id"
)


def test_keys_move_in_the_map(show: Callable[..., Browser]) -> None:
    browser = show(width=1400)

    def press(*keys: str) -> str:
        browser.press(*keys)
        return str(browser.run(FOCUSED))

    browser.run("document.querySelector('#groups input').focus()")
    assert press("Tab") == ""  # the way
    assert press("Tab") == "usr"
    assert browser.run("""getComputedStyle(document.activeElement).outlineStyle""") == "solid"
    assert browser.run("document.activeElement.ariaLabel").startswith("/usr, 2.0 MB, 100 %, dir")
    assert "/usr, 2.0 MB" in _texts(browser, "#about")[0]
    beside = press("ArrowDown")
    assert beside.startswith(("etc/passwd", "srv/<"))
    assert press("ArrowUp") == "usr"
    assert press("ArrowUp", "ArrowLeft") == "usr"
    assert press("End") != "usr"
    assert press("Home", "Enter") == "lib/libc.so"
    assert _texts(browser, "#crumbs button") == ["/", "usr"]
    assert press("ArrowDown") == "share"
    assert press("ArrowRight") == "bin/hello"
    assert press("ArrowRight") == "bin/hello"
    assert press("ArrowUp", "End", "ArrowLeft") == "share"
    assert press("Escape") == "usr"
    assert press("Escape") == "usr"
    assert _texts(browser, "#crumbs button") == ["/"]
    assert press("Enter", "End", "Enter") == "files-title"
    assert _paths(browser) == ["/usr/lib/libc.so", "/usr/bin/hello"]


def test_crumbs_lead_out_of_the_map(show: Callable[..., Browser]) -> None:
    browser = show(_many(), width=1400)

    browser.run(
        "choose(tiles()[0].node); choose(tiles().find((each) => each.node.children.length).node); 0"
    )
    assert len(_texts(browser, "#crumbs button")) == 3
    browser.run("document.querySelector('#crumbs button').click(); 0")

    assert _texts(browser, "#crumbs button") == ["/"]
    assert browser.run(FOCUSED) == "usr"


def test_small_files_are_reached_through_one_tile(show: Callable[..., Browser]) -> None:
    browser = show(_many(), width=1400)

    seen: set[str] = set()
    browser.run(
        "choose(tiles()[0].node); choose(tiles().find((each) => each.node.name.startsWith('lib')).node); 0"
    )
    while True:
        seen |= {name for name in _texts(browser, "#map > .tile > .name") if "more" not in name}
        rest = browser.run(
            "const rest = tiles().find((each) => each.node.isRest); if (rest) rest.click(); Boolean(rest)".replace(
                "const", "var"
            )
        )
        if not rest:
            break

    assert len(seen) == 300


# Screens

OVERFLOWING = """
[...document.querySelectorAll("body, body *:not(script, style)")].filter((each) =>
  !each.closest("#map, .scroll, .visually-hidden, option") && each.getBoundingClientRect().right > innerWidth + 1)
  .map((each) => each.outerHTML.slice(0, 200))
"""
SMALL_TEXT = """
[...document.querySelectorAll("main *")].filter((each) => [...each.childNodes].some((node) =>
  node.nodeType === 3 && node.data.trim()) && parseFloat(getComputedStyle(each).fontSize) < 12).length
"""


@pytest.mark.parametrize("width", [320, 390, 768, 1400])
@pytest.mark.parametrize("make", [_report, _many])
def test_nothing_overflows(
    show: Callable[..., Browser], make: Callable[[], Report], width: int
) -> None:
    long = {"Environment": [f"PATH={'/usr/local/bin:' * 20}"], "Tags": ["a" * 200]}
    image = replace(IMAGE, settings=long)
    earlier = report.page(_report({HOSTILE: 9}, image=_other_image()), b"")

    browser = show(replace(make(), image=image, findings=["x" * 300]), earlier, width=width)

    assert browser.run("document.documentElement.scrollWidth") == width
    assert browser.run(OVERFLOWING) == []
    assert browser.run(SMALL_TEXT) == 0
    assert browser.run("""[...document.querySelectorAll(".scroll")].every((each) =>
        each.scrollWidth <= each.clientWidth)""") or width in (320, 768)


def test_tables_are_lists_on_a_phone(show: Callable[..., Browser]) -> None:
    browser = show(width=390)

    assert (
        browser.run("getComputedStyle(document.querySelector('#files tbody tr')).display")
        == "block"
    )
    assert browser.run("document.querySelector('#files tbody td').getAttribute('role')") == "cell"
    browser.run("document.querySelector('#files th button').click(); 0")
    assert _paths(browser)[0] == "/etc/passwd"


@pytest.mark.parametrize(
    ("media", "style", "light_or_moving"),
    [
        pytest.param("color_scheme", "getComputedStyle(document.body).backgroundColor",
                     {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 22, 26)"}, id="colours"),
        pytest.param("reduced_motion", "getComputedStyle(tiles()[0]).animationName",
                     {"no-preference": "appear", "reduce": "none"}, id="motion"),
        pytest.param("reduced_motion", "getComputedStyle(document.documentElement).scrollBehavior",
                     {"no-preference": "smooth", "reduce": "auto"}, id="scrolling"),
    ],
)  # fmt: skip
def test_page_follows_the_preferences_of_its_reader(
    show: Callable[..., Browser], media: str, style: str, light_or_moving: dict[str, str]
) -> None:
    for preference, value in light_or_moving.items():
        assert show(**{media: preference}).run(style) == value


CONTRAST = """
const parse = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
const light = (text) => parse(text).map((part) => part / 255).map((part) =>
  part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4)
  .reduce((sum, part, index) => sum + part * [.2126, .7152, .0722][index], 0);
[...document.querySelectorAll("#map .tile.file, #map .tile.program")].map((each) => {
  const style = getComputedStyle(each), pair = [light(style.color), light(style.backgroundColor)].sort((a, b) => b - a);
  return (pair[0] + .05) / (pair[1] + .05);
})
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_names_in_the_map_can_be_read(show: Callable[..., Browser], scheme: str) -> None:
    found = show(color_scheme=scheme).run(CONTRAST)

    assert len(found) >= 8
    assert min(found) > 4.5


# Policy


def test_policy_allows_the_own_style_and_script_only(
    show: Callable[..., Browser],
) -> None:
    browser = show()

    assert (
        browser.run("""{
        const script = document.createElement("script");
        script.textContent = "window.ran = true";
        document.body.append(script);
        document.body.insertAdjacentHTML("beforeend", "<a onclick='window.ran = true'>x</a>");
        document.querySelector("body > a").click();
        typeof window.ran
    }""")
        == "undefined"
    )
    assert browser.run("getComputedStyle(document.querySelector('.tile')).position") == "absolute"


def test_page_asks_no_network_for_anything() -> None:
    page = report.page(_report(), b"").decode()

    assert "default-src 'none'; style-src 'sha256-" in page
    assert "unsafe" not in page
    assert re.findall(r"https?://|src=|href=|@import|url\(", page) == ["src="]
