from __future__ import annotations

import os
from pathlib import Path

import pytest
from lists import a_view, extra_lines, list_lines
from scratch_image.elf.closure import LddRow
from scratch_image.errors import ListError
from scratch_image.files import request
from scratch_image.files.extra_list import Extra, LineKind
from scratch_image.files.request import Request, from_extras, from_staged
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem
from scratch_image.trace.record import Record, Use, Used


def test_library_by_its_soname(base: Path) -> None:
    requests = request.from_ldd(
        [
            LddRow("program", b"/usr/bin/prog", None),
            LddRow("library", b"/lib/libx.so.1", b"/usr/bin/prog"),
        ]
    )

    assert list_lines(base, *requests) == [
        "link /lib -> usr/lib needed-by:/usr/bin/prog",
        "dir /usr parent",
        "dir /usr/bin parent",
        "file /usr/bin/prog program",
        "dir /usr/lib parent",
        "link /usr/lib/libx.so.1 -> libx.so.1.0 needed-by:/usr/bin/prog",
        "file /usr/lib/libx.so.1.0 target-of:/usr/lib/libx.so.1",
    ]


def test_outputs_of_a_run_stay_out_and_their_directories_come(base: Path) -> None:
    record = Record(
        (
            Used(Use.ABSENT, b"/data/none"),
            Used(Use.READ, b"/data/a"),
            Used(Use.WRITE, b"/var/log/new"),
            Used(Use.WRITE, b"/var/log/new/file"),
        )
    )

    assert list_lines(base, *request.from_record(record, "default")) == [
        "dir /data parent",
        "file /data/a run:default",
        "dir /var parent",
        "dir /var/log output-dir:default",
    ]


def test_listed_directories_come_whole_where_asked(base: Path) -> None:
    record = Record((Used(Use.LIST, b"/data"), Used(Use.READ, b"/etc/hosts")))
    view = a_view(base)

    assert list(request.from_listings(view, record, "1", ())) == []
    for listed in ([b"/data"], [b"*"]):
        assert list(request.from_listings(view, record, "1", listed)) == [
            Request(b"/data/" + name, "listed-by:1", required=False)
            for name in (b"a", b"dangling", b"sub")
        ]


@pytest.mark.parametrize(
    "directory", ["usr/lib/python3/dist-packages", "srv"], ids=["searched", "package"]
)
def test_listed_packages_do_not_come_empty(base: Path, directory: str) -> None:
    (base / directory / "pkg").mkdir(parents=True)
    for name in ("pkg/__init__.py", "one.py"):
        (base / directory / name).write_text("")
    record = Record((Used(Use.LIST, f"/{directory}".encode()),))

    found = [each.path for each in request.from_listings(a_view(base), record, "1", [b"*"])]

    assert found == [f"/{directory}/one.py".encode()]


def _tree(place: Path) -> Path:
    (place / "tree/lib/empty").mkdir(parents=True)
    (place / "tree/lib/file").write_text("")
    (place / "tree/lib/link").symlink_to("file")
    return place / "tree"


def test_all_below_a_directory_is_requested(tmp_path: Path) -> None:
    tree, base = _tree(tmp_path), tmp_path / "base"
    base.mkdir()
    root = Root(WatchedFileSystem(os.fsencode(base), {b"/opt/x": os.fsencode(tree)}))

    found = list(from_staged(root, [b"/opt/x"]))

    paths = [b"", b"/lib", b"/lib/empty", b"/lib/file", b"/lib/link"]
    assert found == [Request(b"/opt/x" + path, "staged") for path in paths]
    assert {(b"/opt/x", Aspect.LISTING), (b"/opt/x/lib", Aspect.LISTING)} <= root.looked


def test_nothing_of_the_base_comes_with_a_directory_that_joins_it(tmp_path: Path) -> None:
    tree, base = _tree(tmp_path), tmp_path / "base"
    (base / "usr/lib").mkdir(parents=True)
    (base / "usr/lib/theirs").write_text("")
    (base / "usr/theirs").write_text("")
    root = Root(WatchedFileSystem(os.fsencode(base), {b"/usr": os.fsencode(tree)}))

    found = [request.path for request in from_staged(root, [b"/usr"])]

    paths = [b"", b"/lib", b"/lib/empty", b"/lib/file", b"/lib/link"]
    assert found == [b"/usr" + path for path in paths]
    assert (os.fsencode(tree / "lib"), Aspect.LISTING) in root.looked
    assert (b"/usr/lib", Aspect.LISTING) not in root.looked


def test_extra_directory_brings_all_below_it(base: Path) -> None:
    root = a_view(base)
    requests = list(from_extras(root, [Extra(LineKind.PATH, b"/data", "x.extra", 1)]))

    assert list_lines(base, *requests) == [
        "dir /data extra:x.extra",
        "file /data/a extra:x.extra",
        "link /data/dangling -> nowhere extra:x.extra",
        "dir /data/sub extra:x.extra",
        "file /data/sub/b extra:x.extra",
    ]


def test_extra_files_that_do_not_exist_are_told_at_once(base: Path) -> None:
    extras = [Extra(LineKind.PATH, b"/nope", "x.extra", 1), Extra(LineKind.PATH, b"/data/a", "x.extra", 2),
              Extra(LineKind.PATH, b"/data/z z", "x.extra", 3)]  # fmt: skip

    with pytest.raises(ListError) as error:
        list(from_extras(a_view(base), extras))

    assert str(error.value) == (
        r"cannot find extra files: x.extra:1: /nope, x.extra:3: /data/z\040z; "
        "install or make them, or remove their lines from the list"
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/proc/cpuinfo", "/proc/cpuinfo"),
        ("/etc/resolv.conf", "/etc/resolv.conf"),
        ("dir /dev/shm", "/dev/shm"),
        ("link /sys/x -> /y", "/sys/x"),
        ("../data/a -> /proc/a", "/proc/a"),
        ("/proc/version -> /srv/version", "/proc/version"),
    ],
)
def test_extra_line_for_what_each_container_has_is_an_error(
    base: Path, line: str, told: str
) -> None:
    (base / "proc").mkdir(exist_ok=True)
    (base / "proc/version").write_text("")
    (base / "proc/cpuinfo").write_text("")
    (base / "etc/resolv.conf").write_text("")

    with pytest.raises(ListError) as error:
        extra_lines(base, line)

    assert str(error.value) == (
        f"cannot list {told} (t/x.extra:1): the kernel or the engine creates it in each "
        "container; remove the line, or list a copy at another path"
    )


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param("dir /var/none mode=1777 owner=5:6",
                     ["dir 1777 5:6 /var/none extra:t/x.extra"], id="directory"),
        pytest.param("link /srv/none/a -> ../b",
                     ["link 0777 0:0 /srv/none/a -> ../b extra:t/x.extra"], id="link"),
        pytest.param("link /srv/a -> /etc/debian_version",
                     ["file 0644 0:0 /etc/debian_version target-of:/srv/a",
                      "link 0777 0:0 /srv/a -> /etc/debian_version extra:t/x.extra"],
                     id="link to a file"),
        pytest.param("../data/a -> /srv/none/a",
                     ["file 0644 0:0 /srv/none/a <- data/a extra:t/x.extra"], id="project's file"),
        pytest.param("../link -> /srv/a mode=0600 owner=5:6",
                     ["file 0600 5:6 /srv/a <- data/a extra:t/x.extra"], id="project's link"),
        pytest.param("../data -> /srv/d",
                     ["dir 0755 0:0 /srv/d extra:t/x.extra",
                      "file 0644 0:0 /srv/d/a <- data/a extra:t/x.extra",
                      "link 0777 0:0 /srv/d/dangling -> nowhere extra:t/x.extra",
                      "dir 0755 0:0 /srv/d/sub extra:t/x.extra",
                      "file 0644 0:0 /srv/d/sub/b <- data/sub/b extra:t/x.extra"],
                     id="project's directory"),
        pytest.param("../data -> /srv/d mode=0640\n!/srv/**/b\n!/srv/d/dang*",
                     ["dir 0750 0:0 /srv/d extra:t/x.extra",
                      "file 0640 0:0 /srv/d/a <- data/a extra:t/x.extra",
                      "dir 0750 0:0 /srv/d/sub extra:t/x.extra"],
                     id="options and what is left out"),
        pytest.param("/etc/debian_version -> /srv/v",
                     ["file 0644 0:0 /srv/v <- /etc/debian_version extra:t/x.extra"],
                     id="machine's file"),
        pytest.param("../data/a -> /etc/debian_version\n/etc/debian_version",
                     ["file 0644 0:0 /etc/debian_version <- data/a extra:t/x.extra"],
                     id="in the place of the machine's file"),
        pytest.param("/etc/debian_version mode=0600",
                     ["file 0600 0:0 /etc/debian_version extra:t/x.extra"], id="mode"),
        pytest.param("/etc/debian_versio[n]",
                     ["file 0644 0:0 /etc/debian_version extra:t/x.extra"], id="glob"),
        pytest.param("../data/a -> /srv/a\n../data/sub/b -> /srv/a",
                     ["file 0644 0:0 /srv/a <- data/sub/b extra:t/x.extra"], id="later line"),
    ],
)  # fmt: skip
def test_extra_list_asks_for(base: Path, text: str, lines: list[str]) -> None:
    (base / "link").symlink_to("data/a")

    assert extra_lines(base, text) == lines


@pytest.mark.parametrize("line", ["/etc/none*", "gone -> /a", "/gone -> /a"])
def test_extra_line_that_brings_nothing_is_an_error(base: Path, line: str) -> None:
    with pytest.raises(ListError) as error:
        extra_lines(base, line)

    assert str(error.value).startswith("cannot find extra files: t/x.extra:1: ")


def test_mapping_of_a_fifo_is_an_error(base: Path) -> None:
    with pytest.raises(ListError) as error:
        extra_lines(base, "../run/fifo -> /a")

    assert str(error.value) == (
        "cannot list /a: it is a device, FIFO or socket (extra:t/x.extra); "
        "leave it out, the container's runtime has to provide it"
    )
