from __future__ import annotations

import os
import random
import struct
from pathlib import Path

import pytest
from lists import a_view, extra_lines, list_lines
from scratch_image.errors import ListError
from scratch_image.files.merge import Merge, merge
from scratch_image.files.request import Request
from scratch_image.fs.capabilities import attribute
from scratch_image.fs.globs import matcher
from scratch_image.fs.lookup import FileKind, Status
from scratch_image.fs.overlay import Overlay, Placed
from scratch_image.fs.root import Root


def test_links_are_listed_with_every_hop_and_the_end(base: Path) -> None:
    assert list_lines(base, Request(b"/bin/awk", "run:default")) == [
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
    assert (
        list_lines(base, Request(b"/data/sub/../../etc/hosts/../x", "run:one", required=False))
        == []
    )
    assert list_lines(base, Request(b"/data/sub/../a", "run:one")) == [
        "dir /data parent",
        "file /data/a run:one",
        "dir /data/sub run:one",
    ]


def test_hard_links_are_one_file(base: Path) -> None:
    found = list_lines(base, Request(b"/usr/bin/twin", "run:1"), Request(b"/usr/bin/prog", "run:1"))

    assert found[2:] == ["file /usr/bin/prog run:1", "hard /usr/bin/twin -> /usr/bin/prog run:1"]


@pytest.mark.parametrize(
    ("want", "message"),
    [
        pytest.param(
            Request(b"/data/gone", "run:1"),
            "cannot list /data/gone: it is gone (run:1); build again, or put it back",
            id="gone",
        ),
        pytest.param(
            Request(b"/run/fifo", "extra:x"),
            "cannot list /run/fifo: it is a device, FIFO or socket (extra:x); "
            "leave it out, the container's runtime has to provide it",
            id="FIFO",
        ),
    ],
)
def test_required_path_that_cannot_be_listed_is_an_error(
    base: Path, want: Request, message: str
) -> None:
    with pytest.raises(ListError) as error:
        merge(a_view(base), [want])

    assert str(error.value) == message


def test_link_that_is_left_out_leads_nowhere(base: Path) -> None:
    view = a_view(base)

    entries = Merge(view, left_out=[matcher(b"/etc/alternatives")]).extend(
        [Request(b"/bin/awk", "run:1")]
    )

    assert [entry.path for entry in entries] == [b"/bin", b"/usr", b"/usr/bin", b"/usr/bin/awk"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give capabilities")
def test_capabilities_are_part_of_the_list(base: Path) -> None:
    def give(name: str, attribute: bytes = attribute("cap_net_raw=ep"), mode: int = 0o755) -> None:
        (base / name).chmod(mode)
        os.setxattr(base / name, "security.capability", attribute)

    give("usr/bin/prog")
    give("data/a")
    give("data/sub/b", mode=0o644)
    lines = extra_lines(
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
        extra_lines(base, f"{base}/usr/bin/prog")
    assert str(error.value) == (
        f"cannot list {base}/usr/bin/prog with its capabilities: they hold in the user namespace "
        f"of user 1000 only; set them again by setcap, or leave it out (!{base}/usr/bin/prog)"
    )


def test_order_of_requests_does_not_matter(base: Path) -> None:
    requests = [
        Request(b"/bin/awk", "run:1"), Request(b"/data/a", "run:2"), Request(b"/data/a", "run:1"),
        Request(b"/usr/bin/twin", "extra:x"), Request(b"/lib/libx.so.1", "needed-by:/x"),
    ]  # fmt: skip
    expected = list_lines(base, *requests)

    for seed in range(20):
        shuffled = random.Random(seed).sample(requests, len(requests))
        assert list_lines(base, *shuffled) == expected


def test_loader_cache_is_left_out_where_it_is_not_needed() -> None:
    requests = [
        Request(b"/etc/ld.so.cache", "run:1"),
        Request(b"/lib/x86_64-linux-gnu/libc.so.6", "run:1"),
    ]

    paths = [entry.path for entry in merge(Overlay(Root(), b"/project"), requests)]

    assert b"/etc/ld.so.cache" not in paths
    assert b"/usr/lib/x86_64-linux-gnu/libc.so.6" in paths


def test_list_that_grows_is_the_list_of_all_requests(base: Path) -> None:
    """Files are placed between: over a file, a link and a directory, and where there was nothing."""
    view = a_view(base)
    stages = [
        [Request(b"/bin/awk", "run:1"), Request(b"/data/a", "run:2"),
         Request(b"/made/x/y", "run:1", required=False), Request(b"/data/dangling", "run:1"),
         Request(b"/data/sub/b", "run:1"), Request(b"/usr/bin/twin", "run:1")],
        [Request(b"/usr/bin/prog", "program"), Request(b"/data/a", "extra:x")],
        [Request(b"/lib/libx.so.1", "needed-by:/x")],
        [],
    ]  # fmt: skip
    places = [
        [("/data/a", b"text"), ("/made/x/y", b"made")],
        [("/etc/alternatives/awk", b"no link"), ("/data/nowhere", b"found")],
        [("/usr/bin/twin", b"alone"), ("/data/sub/b", b"text")],
        [],
    ]

    merging = Merge(view)
    for requests, placed in zip(stages, places, strict=True):
        grown = merging.extend(requests)
        for path, text in placed:
            status = Status(FileKind.FILE, 0o600, 1, 2, len(text))
            view.place(path.encode(), Placed(status, text=text))
    grown = merging.extend([])

    assert grown == merge(view, [request for requests in stages for request in requests])
    assert {entry.path: entry.text for entry in grown}[b"/data/nowhere"] == b"found"
    assert b"/etc/alternatives" in {entry.path for entry in grown}


def test_secret_that_comes_later_is_refused(base: Path) -> None:
    (base / "etc/shadow").write_text("")
    merging = Merge(a_view(base))
    merging.extend([Request(b"/data/a", "run:1")])

    with pytest.raises(ListError, match="/etc/shadow is a secret"):
        merging.extend([Request(b"/etc/shadow", "run:1")])
