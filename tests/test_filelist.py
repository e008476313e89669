from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scratch_image import filelist
from scratch_image.closure import Row
from scratch_image.errors import InputError, ListError
from scratch_image.extras import Extra
from scratch_image.filelist import Entry, Want
from scratch_image.root import Root
from scratch_image.strace import Use
from scratch_image.tracer import Record, Used


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Make a usrmerge system with a program, its data, links and odd files."""
    for directory in ("usr/bin", "usr/lib", "etc/alternatives", "var/log", "data/sub", "run"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "bin").symlink_to("usr/bin")
    for name in ("usr/bin/prog", "usr/lib/libx.so.1.0", "data/a", "data/sub/b", "etc/hosts"):
        (tmp_path / name).write_text(name)
        (tmp_path / name).chmod(0o644)
    (tmp_path / "usr/lib/libx.so.1").symlink_to("libx.so.1.0")
    (tmp_path / "usr/bin/awk").symlink_to("/etc/alternatives/awk")
    (tmp_path / "etc/alternatives/awk").symlink_to("/usr/bin/prog")
    (tmp_path / "data/dangling").symlink_to("nowhere")
    (tmp_path / "usr/bin/twin").hardlink_to(tmp_path / "usr/bin/prog")
    os.mkfifo(tmp_path / "run/fifo")
    return tmp_path


def _root(base: Path) -> Root:
    return Root(os.fsencode(base))


def _merged(base: Path, *wants: Want) -> list[str]:
    """Return the list's lines without mode and owner."""
    text = filelist.write(filelist.merge(_root(base), wants)).decode()
    rows = [line.split(" ") for line in text.splitlines()[1:]]
    return [" ".join([row[0], *row[3:]]) for row in rows]


def test_links_are_listed_with_every_hop_and_the_end(base: Path) -> None:
    assert _merged(base, Want(b"/bin/awk", "run:default")) == [
        "link /bin -> usr/bin run:default",
        "dir /etc parent",
        "dir /etc/alternatives parent",
        "link /etc/alternatives/awk -> /usr/bin/prog target-of:/usr/bin/awk",
        "dir /usr parent",
        "dir /usr/bin parent",
        "link /usr/bin/awk -> /etc/alternatives/awk run:default",
        "file /usr/bin/prog target-of:/usr/bin/awk",
    ]


def test_library_by_its_soname(base: Path) -> None:
    wants = filelist.of_ldd(
        [
            Row("program", b"/usr/bin/prog", None),
            Row("library", b"/lib/libx.so.1", b"/usr/bin/prog"),
        ]
    )

    assert _merged(base, *wants) == [
        "link /lib -> usr/lib needed-by:/usr/bin/prog",
        "dir /usr parent",
        "dir /usr/bin parent",
        "file /usr/bin/prog program",
        "dir /usr/lib parent",
        "link /usr/lib/libx.so.1 -> libx.so.1.0 needed-by:/usr/bin/prog",
        "file /usr/lib/libx.so.1.0 target-of:/usr/lib/libx.so.1",
    ]


def test_hard_links_are_one_file(base: Path) -> None:
    found = _merged(base, Want(b"/usr/bin/twin", "run:1"), Want(b"/usr/bin/prog", "run:1"))

    assert found[2:] == ["file /usr/bin/prog run:1", "hard /usr/bin/twin -> /usr/bin/prog run:1"]


def test_extra_directory_brings_all_below_it(base: Path) -> None:
    root = _root(base)
    wants = list(filelist.of_extras(root, [Extra(b"/data", "x.extra", 1)]))

    assert _merged(base, *wants) == [
        "dir /data extra:x.extra",
        "file /data/a extra:x.extra",
        "link /data/dangling -> nowhere extra:x.extra",
        "dir /data/sub extra:x.extra",
        "file /data/sub/b extra:x.extra",
    ]


def test_extra_files_that_do_not_exist_are_told_at_once(base: Path) -> None:
    extras = [Extra(b"/nope", "x.extra", 1), Extra(b"/data/a", "x.extra", 2),
              Extra(b"/data/z z", "x.extra", 3)]  # fmt: skip

    with pytest.raises(ListError) as error:
        list(filelist.of_extras(_root(base), extras))

    assert str(error.value) == (
        r"cannot find extra files: x.extra:1: /nope, x.extra:3: /data/z\040z; "
        "install or make them, or take their lines out of the list"
    )


def test_outputs_of_a_run_stay_out_and_their_directories_come(base: Path) -> None:
    record = Record(
        (
            Used(Use.ABSENT, b"/data/none"),
            Used(Use.READ, b"/data/a"),
            Used(Use.WRITE, b"/var/log/new"),
            Used(Use.WRITE, b"/var/log/new/file"),
        )
    )

    assert _merged(base, *filelist.of_record(record, "default")) == [
        "dir /data parent",
        "file /data/a run:default",
        "dir /var parent",
        "dir /var/log output-dir:default",
    ]


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(b"/etc/hosts", id="file of the runtime"),
        pytest.param(b"/proc/self/maps", id="kernel tree"),
        pytest.param(b"/dev", id="kernel tree itself"),
        pytest.param(b"/", id="root"),
        pytest.param(b"/run/fifo", id="FIFO that a run used"),
        pytest.param(b"/data/gone", id="vanished and only looked at"),
    ],
)
def test_what_an_image_does_not_hold_is_left_out(base: Path, path: bytes) -> None:
    kernel = Path(os.fsdecode(os.fsencode(base) + path))
    if path.startswith(b"/proc"):
        kernel.parent.mkdir(parents=True)
        kernel.write_text("")

    found = _merged(base, Want(path, "run:1", must=False))

    assert not any(line.startswith(("file", "link")) for line in found)
    assert not any(f" {path.decode()} " in line for line in found)


@pytest.mark.parametrize(
    ("want", "message"),
    [
        pytest.param(
            Want(b"/data/gone", "run:1"),
            "cannot list /data/gone: it is gone (run:1); build again, or put it back",
            id="gone",
        ),
        pytest.param(
            Want(b"/run/fifo", "extra:x"),
            "cannot list /run/fifo: it is a device, FIFO or socket (extra:x); "
            "leave it out, the container's runtime has to provide it",
            id="FIFO",
        ),
    ],
)
def test_what_must_be_there_and_cannot_is_an_error(base: Path, want: Want, message: str) -> None:
    with pytest.raises(ListError) as error:
        filelist.merge(_root(base), [want])

    assert str(error.value) == message


def test_order_of_wants_does_not_matter(base: Path) -> None:
    wants = [
        Want(b"/bin/awk", "run:1"), Want(b"/data/a", "run:2"), Want(b"/data/a", "run:1"),
        Want(b"/usr/bin/twin", "extra:x"), Want(b"/lib/libx.so.1", "needed-by:/x"),
    ]  # fmt: skip
    expected = _merged(base, *wants)

    for seed in range(20):
        shuffled = random.Random(seed).sample(wants, len(wants))
        assert _merged(base, *shuffled) == expected


def test_loader_cache_is_left_out_where_it_is_not_needed() -> None:
    wants = [Want(b"/etc/ld.so.cache", "run:1"), Want(b"/lib/x86_64-linux-gnu/libc.so.6", "run:1")]

    paths = [entry.path for entry in filelist.merge(Root(), wants)]

    assert b"/etc/ld.so.cache" not in paths
    assert b"/usr/lib/x86_64-linux-gnu/libc.so.6" in paths


NAMES = st.binary(min_size=1, max_size=12).filter(
    lambda name: not set(name) & set(b"/\0") and name not in (b".", b"..")
)
REASONS = st.sampled_from(["parent", "program", "run:default", "extra:a.extra"])


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    kind = draw(st.sampled_from(["dir", "file", "link", "hard"]))
    return Entry(
        kind,
        draw(st.integers(0, 0o7777)),
        draw(st.integers(0, 2**31)),
        draw(st.integers(0, 2**31)),
        b"/" + b"/".join(draw(st.lists(NAMES, min_size=1, max_size=4))),
        draw(NAMES) if kind in ("link", "hard") else b"",
        tuple(sorted(set(draw(st.lists(REASONS, min_size=1))))),
    )


@given(st.lists(entries(), max_size=5))
def test_text_comes_back(listed: list[Entry]) -> None:
    assert filelist.read(filelist.write(listed), "x") == tuple(listed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(b"", "x: it is not a whole one", id="nothing"),
        pytest.param(filelist.HEADER + b"dir 0755 0:0 /usr parent", "x: it is not a whole one",
                     id="cut short"),
        pytest.param(filelist.HEADER + b"dir 0755 0:0\n", "x:2: the line is malformed",
                     id="no path"),
        pytest.param(filelist.HEADER + b"dir 0999 0:0 /usr p\n", "x:2: the line is malformed",
                     id="mode"),
        pytest.param(filelist.HEADER + b"dir 755 0:0 /usr p\n", "x:2: the line is malformed",
                     id="mode is not in four digits"),
        pytest.param(filelist.HEADER + b"dir 0755 0:0 usr p\n", "x:2: the line is malformed",
                     id="relative"),
        pytest.param(filelist.HEADER + b"file 0755 0:0 /a/../b p\n", "x:2: the line is malformed",
                     id="dots"),
        pytest.param(filelist.HEADER + b"tree 0755 0:0 /a p\n", "x:2: the line is malformed",
                     id="kind"),
        pytest.param(filelist.HEADER + b"link 0777 0:0 /a ->\n", "x:2: the line is malformed",
                     id="link to nothing"),
        pytest.param(filelist.HEADER + b"file 0777 0:0 /a -> b p\n", "x:2: the line is malformed",
                     id="file with a target"),
        pytest.param(filelist.HEADER + b"file 0777 -1:0 /a p\n", "x:2: the line is malformed",
                     id="owner"),
    ],
)  # fmt: skip
def test_bad_text_is_an_error_that_names_the_line(text: bytes, message: str) -> None:
    with pytest.raises(InputError) as error:
        filelist.read(text, "x")

    assert str(error.value) == f"cannot read file list {message}; build it again"


@given(st.binary())
def test_any_text_gives_entries_or_an_error_of_ours(text: bytes) -> None:
    for given_text in (text, filelist.HEADER + text + b"\n"):
        try:
            found = filelist.read(given_text, "x")
        except InputError:
            continue
        assert filelist.write(found) == given_text
