from __future__ import annotations

import os
import re

import pytest
from scratch_image.files import why
from scratch_image.files.entry import Entry
from scratch_image.files.why import Absent, Reasons
from scratch_image.trace.record import Record, Use, Used


def _file(path: str, *reasons: str, kind: str = "file") -> Entry:
    return Entry(kind, 0o644, 0, 0, path.encode(), reasons=reasons)


def _link(path: str, target: str, *reasons: str) -> Entry:
    return Entry("link", 0o777, 0, 0, path.encode(), target.encode(), reasons)


LIST = (
    _link("/lib", "usr/lib", "loader-of:/usr/bin/hello", "run:default"),
    _file("/usr", "parent", kind="dir"),
    _file("/usr/bin/hello", "program", "run:default"),
    _file("/usr/bin/script", "extra:hello.extra"),
    _file("/usr/lib", "target-of:/lib", kind="dir"),
    _file("/usr/lib/ld.so", "loader-of:/usr/bin/hello", "run:default"),
    _file("/usr/lib/libc.so", "needed-by:/lib/libz.so", "needed-by:/usr/bin/hello", "run:default"),
    _file("/usr/lib/libz.so", "needed-by:/usr/lib/libx.so", "run:second"),
    _file("/usr/lib/libx.so", "needed-by:/usr/bin/hello", "needed-by:/usr/lib/liby.so"),
    _file("/usr/lib/liby.so", "needed-by:/usr/lib/libx.so"),
    _file("/usr/bin/sh", "interpreter-of:/usr/bin/script"),
    _file("/usr/lib/mod.so", "listed-by:default"),
    _file("/usr/lib/only.so", "needed-by:/usr/lib/plugin.so"),
    _file("/usr/lib/plugin.so", "run:default"),
    _file("/opt/own", "staged"),
    _file("/etc/passwd", "preset:passwd"),
    _file("/var/spool", "output-dir:second", kind="dir"),
    _file("/var/new", "reason-to-come"),
)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        pytest.param("/usr/bin/hello", ["the program is it", "run default used it"], id="program"),
        pytest.param("/opt/own", ["the project places it"], id="staged"),
        pytest.param("/etc/passwd", ["preset passwd brings it"], id="preset"),
        pytest.param("/usr/bin/script", ["extra list hello.extra:2, hello.extra:7 asks for it"],
                     id="lines of an extra list"),
        pytest.param("/usr/bin/sh",
                     ["extra list hello.extra:2, hello.extra:7 asks for /usr/bin/script, which is "
                      "a script of it"], id="interpreter"),
        pytest.param("/usr/lib/ld.so",
                     ["the program is /usr/bin/hello, which is started by it",
                      "run default used it"], id="loader"),
        pytest.param("/usr/lib/libc.so",
                     ["the program is /usr/bin/hello, which needs /usr/lib/libx.so, which needs "
                      "/usr/lib/libz.so, which needs it",
                      "the program is /usr/bin/hello, which needs it", "run default used it"],
                     id="through libraries, not through what a run saw of them"),
        pytest.param("/usr/lib/only.so",
                     ["run default used /usr/lib/plugin.so, which needs it"],
                     id="by a run where nothing else is known"),
        pytest.param("/usr/lib/libx.so", ["the program is /usr/bin/hello, which needs it"],
                     id="not through itself"),
        pytest.param("/usr/lib/mod.so",
                     ["run default listed the directory of it, and IMAGE_LISTED asks for all of "
                      "that"], id="entry of a directory"),
        pytest.param("/usr/lib",
                     ["the program is /usr/bin/hello, which is started by /lib, which leads to it"],
                     id="link"),
        pytest.param("/usr", ["12 paths of the image lie below it, /usr/bin/hello first"],
                     id="parent"),
        pytest.param("/var/spool", ["run second wrote into it"], id="output directory"),
        pytest.param("/var/new", ["reason-to-come brings it"], id="any other reason"),
    ],
)  # fmt: skip
def test_each_reason_is_followed_to_its_beginning(path: str, told: list[str]) -> None:
    lines = {b"/usr/bin/script": ["hello.extra:2", "hello.extra:7"]}

    assert list(why.presence(Reasons(LIST), os.fsencode(path), lines)) == told


def test_extra_list_is_named_where_its_lines_are_not_known() -> None:
    told = why.presence(Reasons(LIST), b"/usr/bin/script", {})

    assert list(told) == ["extra list hello.extra asks for it"]


@pytest.mark.parametrize(
    ("path", "place"),
    [
        pytest.param("/lib/libc.so", "/usr/lib/libc.so", id="link above"),
        pytest.param("/lib", "/lib", id="the link itself"),
        pytest.param("/usr/./bin/../lib", "/usr/lib", id="dots"),
        pytest.param("/a/x", "/usr/x", id="absolute link, and a link to its parent"),
        pytest.param("/loop/x", "/loop/x", id="loop"),
        pytest.param("/../usr", "/usr", id="above the root"),
    ],
)
def test_links_above_are_followed(path: str, place: str) -> None:
    more = [_link("/a", "/lib/up"), _link("/usr/lib/up", "../lib/.."), _link("/loop", "loop")]

    assert Reasons([*LIST, *more]).place(path.encode()) == place.encode()


def test_origins_are_where_all_chains_begin() -> None:
    found = Reasons(LIST).origins()

    assert found[b"/usr/lib/libc.so"] == {"program", "run:default", "run:second"}
    assert found[b"/usr/lib/only.so"] == {"run:default"}
    assert found[b"/usr/bin/sh"] == {"extra:hello.extra"}
    assert found[b"/usr"] == {"parent"}


def _runs(*uses: tuple[Use, str]) -> list[tuple[str, Record]]:
    return [("one", Record(())), ("two", Record(tuple(Used(k, os.fsencode(p)) for k, p in uses)))]


@pytest.mark.parametrize(
    ("absent", "uses", "told"),
    [
        pytest.param(Absent(b"/etc/x", exists=False), [(Use.ABSENT, "/etc/x")],
                     ["run two looked for /etc/x and did not find it",
                      "there is no /etc/x that could be packed; install or make it"],
                     id="looked for"),
        pytest.param(Absent(b"/etc/x", exists=False), [(Use.ABSENT, "/etc/y")],
                     ["no run looked for /etc/x",
                      "there is no /etc/x that could be packed; install or make it"],
                     id="nobody's business"),
        pytest.param(Absent(b"/tmp/out", exists=True), [(Use.WRITE, "/tmp/out")],
                     ["run two wrote /tmp/out: what a run makes stays out",
                      "a line /tmp/out in an extra list brings it"], id="output"),
        pytest.param(Absent(b"/var/log/x", exists=True), [(Use.READ, "/var/log/x")],
                     ["run two used /var/log/x",
                      "a rule keeps it from what runs bring; a line /var/log/x in an extra list "
                      "brings it"], id="noise"),
        pytest.param(Absent(b"/etc/x", exists=True, presets=("nss", "tmp")), [],
                     ["no run looked for /etc/x", "a line /etc/x in an extra list brings it, or "
                      "the preset nss, or the preset tmp"], id="presets"),
        pytest.param(Absent(b"/etc/x", exists=True, left_out=(re.compile(b"/etc/.*"),)), [],
                     ["no run looked for /etc/x",
                      "an extra list leaves it out; take that line away"], id="left out"),
        pytest.param(Absent(b"/etc/shadow", exists=True), [],
                     ["no run looked for /etc/shadow", "it is a secret (password file); "
                      "IMAGE_ALLOW and a line /etc/shadow in an extra list bring it"], id="secret"),
        pytest.param(Absent(b"/proc/self", exists=True), [],
                     ["no run looked for /proc/self", "each container has its own, and no image"],
                     id="the kernel's"),
        pytest.param(Absent(b"/etc/ld.so.cache", exists=True), [],
                     ["no run looked for /etc/ld.so.cache",
                      "it comes only where a listed library is found by nothing else"],
                     id="cache of libraries"),
    ],
)  # fmt: skip
def test_absence_is_explained(absent: Absent, uses: list[tuple[Use, str]], told: list[str]) -> None:
    assert list(why.absence(absent, _runs(*uses))) == told
