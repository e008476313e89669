from __future__ import annotations

from pathlib import Path

import pytest
from lists import a_view, list_lines
from scratch_image.elf.closure import LddRow
from scratch_image.files import request
from scratch_image.files.request import Request
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
