from __future__ import annotations

import gzip
import io
import os
import resource
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scratch_image.errors import InputError, ListError
from scratch_image.files.entry import Entry
from scratch_image.fs.digest import Digest
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem
from scratch_image.image import compression, layer
from scratch_image.image.layer import Layer
from tars import compressed, listing

GOLDEN = Path(__file__).parent / "layer"
EPOCH = 1_700_000_000
SUFFIXES = sorted(compression.MEDIA_TYPES)

HELLO = b"hello, world\n"


def directory(path: bytes, mode: int = 0o755) -> Entry:
    return Entry("dir", mode, 0, 0, path)


def file(path: bytes, mode: int = 0o644, uid: int = 0, gid: int = 0) -> Entry:
    return Entry("file", mode, uid, gid, path)


def link(path: bytes, target: bytes) -> Entry:
    return Entry("link", 0o777, 0, 0, path, target)


def make_base(base: Path) -> Path:
    """Make a small file system, every part of whose state is set here."""
    for name in ("bin", "etc", "tmp", "etc/conf.d"):
        (base / name).mkdir(parents=True)
    for name, data, mtime in (
        ("bin/hello", HELLO, EPOCH - 1000),
        ("etc/late", b"x" * 512, EPOCH + 1000),
        ("etc/empty", b"", 0),
        ("etc/conf.d/a", b"y" * 513, EPOCH),
    ):
        (base / name).write_bytes(data)
        os.utime(base / name, (mtime, mtime))
    os.link(base / "bin/hello", base / "bin/hi")
    return base


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_base(tmp_path / "base")


ENTRIES = [
    directory(b"/"),
    directory(b"/bin"),
    file(b"/bin/hello", 0o4755, 1000, 50),
    Entry("hard", 0o4755, 1000, 50, b"/bin/hi", b"/bin/hello"),
    directory(b"/etc"),
    directory(b"/etc/conf.d"),
    file(b"/etc/conf.d/a"),
    file(b"/etc/empty"),
    file(b"/etc/late", 0o600),
    link(b"/sbin", b"/bin"),
    directory(b"/tmp", 0o1777),
]


def packed(entries: list[Entry], root: Root) -> bytes:
    sink = io.BytesIO()
    made = layer.write(sink, entries, root)
    data = sink.getvalue()
    assert (
        Layer(compression.MEDIA_TYPES[".tar"], Digest.of(data), len(data), Digest.of(data)) == made
    )
    return data


def members(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
        return tar.getmembers()


def names(data: bytes) -> list[bytes]:
    return [os.fsencode(member.name) for member in members(data)]


def root_of(tmp_path: Path, *paths: bytes) -> Root:
    """Make a root with a file of some bytes at each of `paths`."""
    for path in paths:
        where = os.fsencode(tmp_path) + path
        os.makedirs(os.path.dirname(where), exist_ok=True)
        with open(where, "wb") as stream:
            stream.write(HELLO)
    return Root(WatchedFileSystem(os.fsencode(tmp_path), epoch=EPOCH))


def test_the_tar_is_the_golden_one(base: Path) -> None:
    assert (GOLDEN / "small.tar").read_bytes() == packed(
        ENTRIES, Root(WatchedFileSystem(os.fsencode(base), epoch=EPOCH))
    )


def test_gnu_tar_lists_it_as_it_is(base: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(packed(ENTRIES, Root(WatchedFileSystem(os.fsencode(base), epoch=EPOCH))))
    assert (GOLDEN / "small.txt").read_bytes() == listing(path)


def test_python_reads_back_what_was_written(base: Path) -> None:
    data = packed(ENTRIES, Root(WatchedFileSystem(os.fsencode(base), epoch=EPOCH)))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = {
            member.name: (member.type, member.mode, member.uid, member.gid, member.mtime)
            for member in tar
        }
        content = {name: tar.extractfile(name) for name in ("bin/hello", "etc/conf.d/a")}
        read = {name: stream.read() for name, stream in content.items() if stream}
    assert found == {
        ".": (b"5", 0o755, 0, 0, EPOCH),
        "bin": (b"5", 0o755, 0, 0, EPOCH),
        "bin/hello": (b"0", 0o4755, 1000, 50, EPOCH - 1000),
        "bin/hi": (b"1", 0o4755, 1000, 50, EPOCH - 1000),
        "etc": (b"5", 0o755, 0, 0, EPOCH),
        "etc/conf.d": (b"5", 0o755, 0, 0, EPOCH),
        "etc/conf.d/a": (b"0", 0o644, 0, 0, EPOCH),
        "etc/empty": (b"0", 0o644, 0, 0, 0),
        "etc/late": (b"0", 0o600, 0, 0, EPOCH),
        "sbin": (b"2", 0o777, 0, 0, EPOCH),
        "tmp": (b"5", 0o1777, 0, 0, EPOCH),
    }
    assert read == {"bin/hello": HELLO, "etc/conf.d/a": b"y" * 513}


def test_each_file_is_on_record_with_content_and_time(base: Path) -> None:
    root = Root(WatchedFileSystem(os.fsencode(base), epoch=EPOCH))
    packed(ENTRIES, root)
    assert {
        (path, aspect)
        for path in (b"/bin/hello", b"/etc/conf.d/a", b"/etc/empty", b"/etc/late")
        for aspect in (Aspect.CONTENT, Aspect.MTIME)
    } == root.looked


def test_a_staged_file_has_the_epoch_as_its_time(tmp_path: Path) -> None:
    (tmp_path / "made").write_bytes(HELLO)
    root = Root(WatchedFileSystem(b"/", {b"/hello": os.fsencode(tmp_path / "made")}, EPOCH))
    (member,) = members(packed([file(b"/hello")], root))
    assert (EPOCH, len(HELLO)) == (member.mtime, member.size)


def test_a_text_of_the_list_is_a_file(tmp_path: Path) -> None:
    entries = [
        Entry("dir", 0o755, 0, 0, b"/etc"),
        Entry("file", 0o644, 0, 0, b"/etc/group", text=b"root\n"),
    ]
    sink = io.BytesIO()

    layer.write(sink, entries, Root(WatchedFileSystem(os.fsencode(tmp_path), epoch=7)))

    with tarfile.open(fileobj=io.BytesIO(sink.getvalue())) as tar:
        member = tar.getmember("etc/group")
        content = tar.extractfile(member)
        assert content is not None
        assert (member.mtime, content.read()) == (7, b"root\n")


def test_a_time_before_1970_becomes_1970(tmp_path: Path) -> None:
    root = root_of(tmp_path, b"/old")
    os.utime(tmp_path / "old", (-1000, -1000))
    (member,) = members(packed([file(b"/old")], root))
    assert member.mtime == 0


def test_directories_come_before_what_lies_in_them(tmp_path: Path) -> None:
    root = root_of(tmp_path, b"/a/b", b"/a-b", b"/a.d/c")
    entries = [file(b"/a.d/c"), file(b"/a-b"), file(b"/a/b"), directory(b"/a.d"), directory(b"/a")]
    assert names(packed(entries, root)) == [b"a", b"a/b", b"a-b", b"a.d", b"a.d/c"]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(ENTRIES))
def test_any_order_gives_the_same_bytes(base: Path, entries: list[Entry]) -> None:
    assert (GOLDEN / "small.tar").read_bytes() == packed(
        entries, Root(WatchedFileSystem(os.fsencode(base), epoch=EPOCH))
    )


def odd(longest: int) -> st.SearchStrategy[bytes]:
    """Draw any bytes but NUL and the slash, often up to `longest`."""
    some = st.binary(min_size=1, max_size=20).map(
        lambda name: name.replace(b"\0", b"0").replace(b"/", b"_")
    )
    return st.builds(lambda name, times: (name * times)[:longest], some, st.integers(1, longest))


NAMES = st.lists(
    odd(255).filter(lambda name: name not in (b".", b"..") and not name.startswith(b".wh.")),
    min_size=1,
    max_size=4,
)


@settings(max_examples=200)
@given(NAMES, odd(4095))
def test_any_name_and_link_text_is_read_back(parts: list[bytes], target: bytes) -> None:
    directories = [directory(b"/" + b"/".join(parts[:end])) for end in range(1, len(parts))]
    path = b"/" + b"/".join(parts)
    found = members(packed([*directories, link(path, target)], Root()))
    assert [entry.path[1:] for entry in directories] + [path[1:]] == [
        os.fsencode(member.name) for member in found
    ]
    assert target == os.fsencode(found[-1].linkname)


@pytest.mark.parametrize("length", [1, 100, 101, 4095])
def test_a_link_text_of_any_length(length: int) -> None:
    target = b"t" * length
    (member,) = members(packed([link(b"/l", target)], Root()))
    assert target == os.fsencode(member.linkname)


ODD_PATHS = [
    pytest.param(b"/with space", id="space"),
    pytest.param(b"/quo'te\"s", id="quotes"),
    pytest.param(b"/new\nline", id="newline"),
    pytest.param(b"/back\\slash", id="backslash"),
    pytest.param(b"/\xff\xfe", id="not UTF-8"),
    pytest.param("/käse".encode(), id="UTF-8"),
    pytest.param(b"/" + b"n" * 100, id="100 bytes"),
    pytest.param(b"/" + b"n" * 101, id="101 bytes"),
    pytest.param(b"/" + b"n" * 255, id="255 bytes"),
    pytest.param(b"/" + b"\xff" * 101, id="long and not UTF-8"),
    pytest.param(b"/" + b"d" * 155 + b"/" + b"n" * 100, id="longest that ustar splits"),
    pytest.param(b"/" + b"d" * 156 + b"/" + b"n" * 99, id="prefix too long"),
    pytest.param(b"/" + b"/".join([b"d" * 49] * 8), id="many directories"),
]


@pytest.mark.parametrize("path", ODD_PATHS)
def test_gnu_tar_unpacks_odd_names(tmp_path: Path, path: bytes) -> None:
    root = root_of(tmp_path / "base", path)
    above = path.split(b"/")[1:-1]
    entries = [directory(b"/" + b"/".join(above[:end])) for end in range(1, len(above) + 1)]
    (tmp_path / "x.tar").write_bytes(packed([*entries, file(path)], root))
    (tmp_path / "out").mkdir()
    done = subprocess.run(
        ["tar", "-xf", tmp_path / "x.tar", "-C", tmp_path / "out"], capture_output=True, check=True
    )
    assert done.stderr == b""
    with open(os.fsencode(tmp_path / "out") + path, "rb") as stream:
        assert stream.read() == HELLO


def test_a_file_of_8_gib_is_packed(tmp_path: Path) -> None:
    # Sparse, and stopped after the header: the record is what is tested.
    with (tmp_path / "big").open("wb") as stream:
        stream.truncate(1 << 33)
    sink = _Full(4096)
    with pytest.raises(OSError, match="No space left on device"):
        layer.write(
            sink, [file(b"/big")], Root(WatchedFileSystem(os.fsencode(tmp_path), epoch=EPOCH))
        )
    assert b" size=8589934592\n" in sink.data


class _Full:
    """A sink that is full after some bytes."""

    def __init__(self, room: int) -> None:
        self.data = b""
        self.room = room

    def write(self, data: bytes, /) -> None:
        if len(self.data) + len(data) > self.room:
            raise OSError(28, "No space left on device")
        self.data += data


BAD = [
    pytest.param(
        [file(b"/gone")],
        "cannot pack /gone: it has gone; build again to list it again",
        id="vanished",
    ),
    pytest.param(
        [file(b"/dir")],
        "cannot pack /dir: it is no longer a regular file; build again to list it again",
        id="now a directory",
    ),
    pytest.param(
        [file(b"/fifo")],
        "cannot pack /fifo: it is no longer a regular file; build again to list it again",
        id="now a FIFO",
    ),
    pytest.param(
        [directory(b"/a b"), file(b"/a b/.wh.x")],
        "cannot pack /a\\040b/.wh.x: names with .wh. in front mean deleted files in layers; "
        "leave it out",
        id="whiteout",
    ),
    pytest.param(
        [directory(b"/dir"), directory(b"/dir")],
        "cannot pack /dir: it is listed twice; list it once",
        id="twice",
    ),
    pytest.param(
        [link(b"/dir/x/y", b"z")],
        "cannot pack /dir/x/y: /dir/x is not listed as a directory; list that, too",
        id="no parent",
    ),
    pytest.param(
        [link(b"/dir", b"/etc"), file(b"/dir/x")],
        "cannot pack /dir/x: /dir is not listed as a directory; list that, too",
        id="below a link",
    ),
    pytest.param(
        [Entry("hard", 0o644, 0, 0, b"/b", b"/a")],
        "cannot pack /b: no file /a is listed before it; list it as a file",
        id="hard link to nothing",
    ),
    pytest.param(
        [directory(b"/a"), Entry("hard", 0o755, 0, 0, b"/b", b"/a")],
        "cannot pack /b: no file /a is listed before it; list it as a file",
        id="hard link to a directory",
    ),
    pytest.param(
        [file(b"/a"), Entry("hard", 0o755, 0, 0, b"/b", b"/a")],
        "cannot pack /b: mode, owner or capabilities differ from those of /a, the same file; list both alike",
        id="hard link with another mode",
    ),
    *(
        pytest.param(
            [file(path)],
            f"cannot pack {shown}: it is not a plain absolute path; write it without . .. and //",
            id=f"path {shown}",
        )
        for path, shown in (
            (b"/../etc/passwd", "/../etc/passwd"),
            (b"/a/./b", "/a/./b"),
            (b"//a", "//a"),
            (b"/a/", "/a/"),
            (b"a", "a"),
            (b"", ""),
            (b"/a\0b", "/a\\000b"),
        )
    ),
]


@pytest.mark.parametrize(("entries", "message"), BAD)
def test_entries_that_cannot_be_packed(tmp_path: Path, entries: list[Entry], message: str) -> None:
    (tmp_path / "dir").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ListError) as caught:
        packed(entries, Root(WatchedFileSystem(os.fsencode(tmp_path))))
    assert message == str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_file_that_may_not_be_read() -> None:
    # Below /tmp itself: other users cannot enter pytest's own directories.
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        _pack_as_nobody(Path(directory))


def _pack_as_nobody(directory: Path) -> None:
    root = root_of(directory, b"/secret")
    (directory / "secret").chmod(0)
    directory.chmod(0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(ListError) as caught:
            packed([file(b"/secret")], root)
    finally:
        os.seteuid(0)
    assert str(caught.value) == (
        "cannot read /secret: Permission denied; make it readable by the user who runs scons, or leave it out"
    )


def grow(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"more")


def shrink(path: Path) -> None:
    os.truncate(path, 100)


def rewrite(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.write(b"other")


def replace(path: Path) -> None:
    data = path.read_bytes()
    path.rename(path.with_name("old"))
    path.write_bytes(data)


class _Meddler:
    """A sink that changes a file as soon as the file's header has arrived."""

    def __init__(self, path: Path, change: Callable[[Path], None]) -> None:
        self.path = path
        self.change: Callable[[Path], None] | None = change

    def write(self, data: bytes, /) -> None:
        if self.change is not None:
            self.change(self.path)
            self.change = None


@pytest.mark.parametrize("change", [grow, shrink, rewrite, replace])
def test_a_file_that_changes_while_it_is_read(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "busy"
    path.write_bytes(bytes(3 << 20))
    with pytest.raises(ListError) as caught:
        layer.write(
            _Meddler(path, change),
            [file(b"/busy")],
            Root(WatchedFileSystem(os.fsencode(tmp_path), epoch=EPOCH)),
        )
    assert str(caught.value) == (
        "cannot pack /busy: it changed while it was read; build again when nothing writes to it"
    )


@pytest.fixture
def small_limit() -> Iterator[int]:
    """Limit the files of this process: the kernel answers as for a full disk."""
    limit = 64 * 1024
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_is_the_callers_to_tell(tmp_path: Path, suffix: str, small_limit: int) -> None:
    for number in range(8):
        (tmp_path / f"{number}").write_bytes(os.urandom(small_limit // 4))
    entries = [file(b"/%d" % number) for number in range(8)]
    with (
        pytest.raises(OSError, match="File too large"),
        (tmp_path / "x").open("wb", buffering=0) as output,
        compression.compress(_Whole(output), suffix) as sink,
    ):
        layer.write(sink, entries, Root(WatchedFileSystem(os.fsencode(tmp_path), epoch=EPOCH)))


class _Whole:
    """An unbuffered file that writes all it is given, as a buffered one does."""

    def __init__(self, output: BinaryIO | io.FileIO) -> None:
        self.output = output

    def write(self, data: bytes, /) -> None:
        view = memoryview(data)
        while view:
            view = view[self.output.write(view) :]


@pytest.mark.parametrize(
    ("suffix", "tool"), [(".tar.gz", ["gzip", "-dc"]), (".tar.zst", ["tar", "--zstd", "-tf", "-"])]
)
def test_a_compressed_layer_is_written_while_it_is_packed(
    base: Path, tmp_path: Path, suffix: str, tool: list[str]
) -> None:
    path = tmp_path / f"x{suffix}"
    with path.open("wb") as output, compression.compress(output, suffix) as sink:
        made = layer.write(sink, ENTRIES, Root(WatchedFileSystem(os.fsencode(base), epoch=EPOCH)))
    assert Digest.of((GOLDEN / "small.tar").read_bytes()) == made.diff_id
    data = path.read_bytes()
    assert Layer(
        compression.MEDIA_TYPES[suffix], Digest.of(data), len(data), made.diff_id
    ) == layer.read(os.fsencode(path))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_layer_file_that_is_cut_anywhere_is_refused(tmp_path: Path, suffix: str) -> None:
    data = compressed((GOLDEN / "small.tar").read_bytes(), suffix)
    path = tmp_path / f"x{suffix}"
    for end in [0, 1, 20, len(data) // 2, len(data) - 600, len(data) - 2, len(data) - 1]:
        path.write_bytes(data[: max(end, 0)])
        with pytest.raises(
            InputError, match=r"^cannot read layer .*; delete it and build it again$"
        ):
            layer.read(os.fsencode(path))


@pytest.mark.parametrize(
    ("name", "data", "cause"),
    [
        pytest.param("x.tar", b"no tar", "the end of the tar is missing", id="tar"),
        pytest.param("x.tar", bytes(1025), "the end of the tar is missing", id="odd size"),
        pytest.param(
            "x.tar.gz",
            b"no gzip",
            "it is not a whole gzip file (Not a gzipped file (b'no'))",
            id="gzip",
        ),
        pytest.param(
            "x.tar.gz",
            gzip.compress(bytes(9999))[:-9],
            "it is not a whole gzip file "
            "(Compressed file ended before the end-of-stream marker was reached)",
            id="cut gzip",
        ),
        pytest.param(
            "x.tar.gz",
            gzip.compress(b"x")[:10] + b"\xff" * 99,
            "it is not a whole gzip file (Error -3 while decompressing data: invalid block type)",
            id="damaged gzip",
        ),
        pytest.param(
            "x.tar.zst",
            b"no zstd at all",
            "it is not a zstd file (zstd decompressor error: Unknown frame descriptor)",
            id="zstd",
        ),
        pytest.param(
            "x.tar.zst",
            zstandard.compress(bytes(9999))[:-1],
            "the end of the zstd file is missing",
            id="cut zstd",
        ),
    ],
)
def test_a_layer_file_of_another_kind(tmp_path: Path, name: str, data: bytes, cause: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        layer.read(os.fsencode(path))
    assert f"cannot read layer {path}: {cause}; delete it and build it again" == str(caught.value)


CAPABLE = [
    directory(b"/"),
    Entry("file", 0o755, 7, 8, b"/a", capabilities="cap_net_raw=ep"),
    Entry("hard", 0o755, 7, 8, b"/b", b"/a", capabilities="cap_net_raw=ep"),
    Entry("file", 0o755, 0, 0, b"/c"),
]


def test_each_name_of_a_file_has_its_capabilities(tmp_path: Path) -> None:
    data = packed(CAPABLE, root_of(tmp_path, b"/a", b"/c"))

    found = [member.pax_headers.get("SCHILY.xattr.security.capability") for member in members(data)]
    told = "\x01\0\0\x02\0\x20" + "\0" * 14
    assert found == [None, told, told, None]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give capabilities")
def test_tar_gives_the_capabilities(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(packed(CAPABLE, root_of(tmp_path / "base", b"/a", b"/c")))
    (tmp_path / "out").mkdir()

    command = ["tar", "--xattrs", "--xattrs-include=*", "-xpf", str(path), f"-C{tmp_path / 'out'}"]
    told = subprocess.run(command, check=True, capture_output=True)

    assert told.stderr == b""
    for name, attributes in {"a": ["security.capability"], "c": []}.items():
        assert os.listxattr(tmp_path / "out" / name) == attributes


def test_names_of_a_file_with_other_capabilities_cannot_be_packed(tmp_path: Path) -> None:
    entries = [file(b"/a", 0o755), Entry("hard", 0o755, 0, 0, b"/b", b"/a", capabilities="=")]

    with pytest.raises(ListError, match="mode, owner or capabilities differ from those of /a"):
        packed(entries, root_of(tmp_path, b"/a"))
