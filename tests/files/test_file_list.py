from __future__ import annotations

import os
import random
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scratch_image.elf.ldd_text import Row
from scratch_image.errors import InputError, ListError
from scratch_image.files import file_list
from scratch_image.files.extra_list import Extra, Kind, parse
from scratch_image.files.file_list import Entry, Want
from scratch_image.fs.capabilities import attribute
from scratch_image.fs.globs import matcher
from scratch_image.fs.overlay import Overlay
from scratch_image.fs.root import Root
from scratch_image.trace.record import Record, Use, Used


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


def _root(base: Path) -> Overlay:
    return Overlay(Root(os.fsencode(base)), b"/project")


def _merged(base: Path, *wants: Want) -> list[str]:
    """Return the list's lines without mode and owner."""
    text = file_list.write(file_list.merge(_root(base), wants)).decode()
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


def test_directories_that_a_path_leaves_are_listed(base: Path) -> None:
    assert _merged(base, Want(b"/data/sub/../../etc/hosts/../x", "run:one", must=False)) == []
    assert _merged(base, Want(b"/data/sub/../a", "run:one")) == [
        "dir /data parent",
        "file /data/a run:one",
        "dir /data/sub run:one",
    ]


def test_library_by_its_soname(base: Path) -> None:
    wants = file_list.of_ldd(
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
    wants = list(file_list.of_extras(root, [Extra(Kind.PATH, b"/data", "x.extra", 1)]))

    assert _merged(base, *wants) == [
        "dir /data extra:x.extra",
        "file /data/a extra:x.extra",
        "link /data/dangling -> nowhere extra:x.extra",
        "dir /data/sub extra:x.extra",
        "file /data/sub/b extra:x.extra",
    ]


def test_extra_files_that_do_not_exist_are_told_at_once(base: Path) -> None:
    extras = [Extra(Kind.PATH, b"/nope", "x.extra", 1), Extra(Kind.PATH, b"/data/a", "x.extra", 2),
              Extra(Kind.PATH, b"/data/z z", "x.extra", 3)]  # fmt: skip

    with pytest.raises(ListError) as error:
        list(file_list.of_extras(_root(base), extras))

    assert str(error.value) == (
        r"cannot find extra files: x.extra:1: /nope, x.extra:3: /data/z\040z; "
        "install or make them, or take their lines out of the list"
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
        _extras(base, line)

    assert str(error.value) == (
        f"cannot list {told} (t/x.extra:1): the kernel or the engine makes it anew in each "
        "container; take the line away, or list a copy at another path"
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

    assert _merged(base, *file_list.of_record(record, "default")) == [
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
        file_list.merge(_root(base), [want])

    assert str(error.value) == message


def _extras(base: Path, text: str) -> list[str]:
    """Return the list that the extra list `text` of the project in `base` asks for."""
    view = Overlay(Root(os.fsencode("/")), os.fsencode(base))
    extras = parse(text.format(base=base).encode(), "t/x.extra", lambda name: b"")
    wants = list(file_list.of_extras(view, extras))
    out = [matcher(extra.path) for extra in extras if extra.kind is Kind.OUT]
    lines = file_list.write(file_list.merge(view, wants, left_out=out)).decode().splitlines()[1:]
    return [line for line in lines if " parent" not in line]


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

    assert _extras(base, text) == lines


@pytest.mark.parametrize("line", ["/etc/none*", "gone -> /a", "/gone -> /a"])
def test_extra_line_that_brings_nothing_is_an_error(base: Path, line: str) -> None:
    with pytest.raises(ListError) as error:
        _extras(base, line)

    assert str(error.value).startswith("cannot find extra files: t/x.extra:1: ")


def test_mapping_of_a_fifo_is_an_error(base: Path) -> None:
    with pytest.raises(ListError) as error:
        _extras(base, "../run/fifo -> /a")

    assert str(error.value) == (
        "cannot list /a: it is a device, FIFO or socket (extra:t/x.extra); "
        "leave it out, the container's runtime has to provide it"
    )


def test_link_that_is_left_out_leads_nowhere(base: Path) -> None:
    view = _root(base)

    entries = file_list.merge(
        view, [Want(b"/bin/awk", "run:1")], left_out=[matcher(b"/etc/alternatives")]
    )

    assert [entry.path for entry in entries] == [b"/bin", b"/usr", b"/usr/bin", b"/usr/bin/awk"]


@pytest.mark.parametrize(
    "path",
    [
        "var/log/app/access.log",
        "run/app.pid",
        "var/lib/dbus/machine-id",
        "var/lib/sss/mc/passwd",
        "usr/local/lib/python3.11/dist-packages/x.pth",
        "usr/local/lib/python3.11/dist-packages/sitecustomize.py",
        "usr/local/lib/python3.11/dist-packages/__pycache__/sitecustomize.cpython-311.pyc",
    ],
)
def test_noise_of_the_machine_stays_out_unless_it_is_asked_for(base: Path, path: str) -> None:
    (base / path).parent.mkdir(parents=True, exist_ok=True)
    (base / path).write_text("")
    image = os.fsencode("/" + path)

    assert _merged(base, Want(image, "run:1")) == []
    assert _merged(base, Want(image, "run:1"), Want(image, "extra:x"))[-1].startswith("file ")


@pytest.mark.parametrize(
    "path", ["usr/lib/python3/dist-packages/x.pth", "usr/lib/python3.11/sitecustomize.py"]
)
def test_start_files_of_packages_stay(base: Path, path: str) -> None:
    (base / path).parent.mkdir(parents=True)
    (base / path).write_text("")

    assert _merged(base, Want(os.fsencode("/" + path), "run:1"))[-1].startswith("file ")


def test_directory_of_logs_stays(base: Path) -> None:
    (base / "var/log/app").mkdir()

    assert _merged(base, Want(b"/var/log/app", "run:1"))[-1] == "dir /var/log/app run:1"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give capabilities")
def test_capabilities_are_part_of_the_list(base: Path) -> None:
    def give(name: str, attribute: bytes = attribute("cap_net_raw=ep"), mode: int = 0o755) -> None:
        (base / name).chmod(mode)
        os.setxattr(base / name, "security.capability", attribute)

    give("usr/bin/prog")
    give("data/a")
    give("data/sub/b", mode=0o644)
    lines = _extras(
        base, f"{base}/usr/bin/prog\n{base}/usr/bin/twin\n../data/a -> /srv/a\n{base}/data/sub/b"
    )

    assert [line for line in lines if "file" in line or "hard" in line] == [
        "file 0755 0:0 /srv/a <- data/a + cap_net_raw=ep extra:t/x.extra",
        f"file 0644 0:0 {base}/data/sub/b extra:t/x.extra",
        f"file 0755 0:0 {base}/usr/bin/prog + cap_net_raw=ep extra:t/x.extra",
        f"hard 0755 0:0 {base}/usr/bin/twin -> {base}/usr/bin/prog + cap_net_raw=ep extra:t/x.extra",
    ]

    give("usr/bin/prog", struct.pack("<6I", 3 << 24, 1, 0, 0, 0, 1000))
    with pytest.raises(ListError) as error:
        _extras(base, f"{base}/usr/bin/prog")
    assert str(error.value) == (
        f"cannot list {base}/usr/bin/prog with its capabilities: they hold in the user namespace "
        f"of user 1000 only; set them again by setcap, or leave it out (!{base}/usr/bin/prog)"
    )


@pytest.fixture
def secrets(base: Path) -> Path:
    for name in ("root/.netrc", "root/x", "etc/shadow", "srv/app/.git/config"):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text("secret")
    (base / "data/way").symlink_to("/root/x")
    return base


def test_secrets_are_told_at_once_with_who_wants_them(secrets: Path) -> None:
    wants = [
        Want(b"/root/.netrc", "run:default"),
        Want(b"/root/.netrc", "extra:x.extra", where="x.extra:3"),
        Want(b"/data/way", "run:default"),
        Want(b"/srv/app/.git/config", "extra:x.extra", must=False, where="x.extra:4"),
        Want(b"/root", "run:default"),
        Want(b"/root/.curlrc", "run:default", must=False),
    ]

    with pytest.raises(ListError) as error:
        file_list.merge(_root(secrets), wants)

    assert str(error.value) == (
        "cannot list /root/.netrc: it is a secret (login and password), wanted by run:default, "
        "x.extra:3, /root/x: it is a secret (home directory), wanted by run:default, "
        "/srv/app/.git/config: it is a secret (git repository), wanted by x.extra:4; "
        "add it to IMAGE_ALLOW if it belongs into the image"
    )


def test_many_secrets_are_counted(secrets: Path) -> None:
    for at in range(30):
        (secrets / f"root/f{at:02}").write_text("")
    wants = [Want(b"/root/f%02d" % at, "run:1") for at in range(30)]

    with pytest.raises(ListError) as error:
        file_list.merge(_root(secrets), wants)

    assert "wanted by run:1, and 10 more; add it to IMAGE_ALLOW" in str(error.value)


@pytest.mark.parametrize("allowed", [b"/root/x", b"/root"])
def test_allowed_path_is_listed(secrets: Path, allowed: bytes) -> None:
    entries = file_list.merge(_root(secrets), [Want(b"/root/x", "run:1")], [allowed])

    assert [entry.path for entry in entries] == [b"/root", b"/root/x"]


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        pytest.param("../root/.netrc -> /srv/a", True, id="name of the source"),
        pytest.param("../root/x -> /srv/.netrc", True, id="name in the image"),
        pytest.param("../root/x -> /etc/shadow", True, id="place in the image"),
        pytest.param("{base}/etc/shadow -> /srv/a", False, id="below another root"),
        pytest.param("/etc/shadow -> /srv/a", True, id="place on the machine"),
        pytest.param("../root/x -> /home/app/x", False, id="home of the image"),
        pytest.param("../root/x -> /root/x", False, id="home of root in the image"),
    ],
)
def test_mapped_files_are_judged_by_both_names(secrets: Path, line: str, secret: bool) -> None:
    try:
        _extras(secrets, line)
    except ListError as error:
        assert "it is a secret" in str(error)
        assert secret
    else:
        assert not secret


def test_base_may_lie_in_a_home() -> None:
    with tempfile.TemporaryDirectory(dir=Path.home()) as home:
        for name in ("data/a", "root/x", "etc/shadow"):
            (Path(home) / name).parent.mkdir()
            (Path(home) / name).write_text("")
        root = Overlay(Root(os.fsencode(home)), b"/project")

        entries = file_list.merge(root, [Want(b"/data/a", "run:1")])
        for secret in (b"/root/x", b"/etc/shadow"):
            with pytest.raises(ListError, match="it is a secret"):
                file_list.merge(root, [Want(secret, "run:1")])

    assert [entry.path for entry in entries] == [b"/data", b"/data/a"]


def test_listed_directories_come_whole_where_asked(base: Path) -> None:
    record = Record((Used(Use.LIST, b"/data"), Used(Use.READ, b"/etc/hosts")))
    view = _root(base)

    assert list(file_list.of_listed(view, record, "1", ())) == []
    for listed in ([b"/data"], [b"*"]):
        assert list(file_list.of_listed(view, record, "1", listed)) == [
            Want(b"/data/" + name, "listed-by:1", must=False)
            for name in (b"a", b"dangling", b"sub")
        ]


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

    paths = [entry.path for entry in file_list.merge(Overlay(Root(), b"/project"), wants)]

    assert b"/etc/ld.so.cache" not in paths
    assert b"/usr/lib/x86_64-linux-gnu/libc.so.6" in paths


NAMES = st.binary(min_size=1, max_size=12).filter(
    lambda name: not set(name) & set(b"/\0") and name not in (b".", b"..")
)
REASONS = st.sampled_from(["parent", "program", "run:default", "extra:a.extra"])


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    kind = draw(st.sampled_from(["dir", "file", "link", "hard"]))
    source = draw(st.sampled_from([b"", b"a/b c", b"/x"])) if kind == "file" else b""
    text = draw(st.sampled_from([b"", b"a b\n"])) if kind == "file" and not source else b""
    return Entry(
        kind,
        draw(st.integers(0, 0o7777)),
        draw(st.integers(0, 2**31)),
        draw(st.integers(0, 2**31)),
        b"/" + b"/".join(draw(st.lists(NAMES, min_size=1, max_size=4))),
        draw(NAMES) if kind in ("link", "hard") else b"",
        tuple(sorted(set(draw(st.lists(REASONS, min_size=1))))),
        source,
        text,
        draw(st.sampled_from(["", "cap_kill=ep", "cap_kill=i cap_bpf=ip"]))
        if kind in ("file", "hard")
        else "",
    )


@given(st.lists(entries(), max_size=5))
def test_text_comes_back(listed: list[Entry]) -> None:
    assert file_list.read(file_list.write(listed), "x") == tuple(listed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(b"", "x: it is not a whole one", id="nothing"),
        pytest.param(file_list.HEADER + b"dir 0755 0:0 /usr parent", "x: it is not a whole one",
                     id="cut short"),
        pytest.param(file_list.HEADER + b"dir 0755 0:0\n", "x:2: the line is malformed",
                     id="no path"),
        pytest.param(file_list.HEADER + b"dir 0999 0:0 /usr p\n", "x:2: the line is malformed",
                     id="mode"),
        pytest.param(file_list.HEADER + b"dir 755 0:0 /usr p\n", "x:2: the line is malformed",
                     id="mode is not in four digits"),
        pytest.param(file_list.HEADER + b"dir 0755 0:0 usr p\n", "x:2: the line is malformed",
                     id="relative"),
        pytest.param(file_list.HEADER + b"file 0755 0:0 /a/../b p\n", "x:2: the line is malformed",
                     id="dots"),
        pytest.param(file_list.HEADER + b"tree 0755 0:0 /a p\n", "x:2: the line is malformed",
                     id="kind"),
        pytest.param(file_list.HEADER + b"link 0777 0:0 /a ->\n", "x:2: the line is malformed",
                     id="link to nothing"),
        pytest.param(file_list.HEADER + b"file 0777 0:0 /a -> b p\n", "x:2: the line is malformed",
                     id="file with a target"),
        pytest.param(file_list.HEADER + b"dir 0755 0:0 /a <- b p\n", "x:2: the line is malformed",
                     id="directory with a source"),
        pytest.param(file_list.HEADER + b"file 0644 0:0 /a <- ../b p\n", "x:2: the line is malformed",
                     id="source outside of the project"),
        pytest.param(file_list.HEADER + b"file 0644 0:0 /a <- b = c p\n", "x:2: the line is malformed",
                     id="source and text"),
        pytest.param(file_list.HEADER + b"file 0777 -1:0 /a p\n", "x:2: the line is malformed",
                     id="owner"),
        pytest.param(file_list.HEADER + b"file 0777 0:0 /a + cap_none=p p\n",
                     "x:2: the line is malformed", id="no capabilities"),
        pytest.param(file_list.HEADER + b"dir 0777 0:0 /a + cap_kill=p p\n",
                     "x:2: the line is malformed", id="directory with capabilities"),
        pytest.param(file_list.HEADER + b"file 0777 0:0 /a + \\377 p\n",
                     "x:2: the line is malformed", id="capabilities that are no text"),
    ],
)  # fmt: skip
def test_bad_text_is_an_error_that_names_the_line(text: bytes, message: str) -> None:
    with pytest.raises(InputError) as error:
        file_list.read(text, "x")

    assert str(error.value) == f"cannot read file list {message}; build it again"


@given(st.binary())
def test_any_text_gives_entries_or_an_error_of_ours(text: bytes) -> None:
    for given_text in (text, file_list.HEADER + text + b"\n"):
        try:
            found = file_list.read(given_text, "x")
        except InputError:
            continue
        assert file_list.write(found) == given_text
