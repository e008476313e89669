from __future__ import annotations

import json
import zlib

import pytest
from scratch_image.cache.entry import EntryError
from scratch_image.cache.path_set import (
    MAX_SETS,
    Checkout,
    PathSet,
    States,
    UnsharedError,
    differing_paths,
    marks,
    portable_states,
    read_path_sets,
    unpack,
    write_path_sets,
)
from scratch_image.fs.root import Aspect

HERE = Checkout((b"/home/a/project", b"/srv/repository"))
THERE = Checkout((b"/builds/7", b"/mnt/r"))


def lines(states: States, at: Checkout = HERE, *, is_bound: bool = False) -> list[str]:
    return portable_states(states, at, is_bound=is_bound)


def path_set(states: States, at: Checkout = HERE) -> PathSet:
    return PathSet.of([states], at, is_bound=False, is_personal=False)


@pytest.mark.parametrize(
    ("here", "there"),
    [
        pytest.param(b"/usr/bin/x", b"/usr/bin/x", id="file of the machine"),
        pytest.param(b"/home/a/project/x", b"/builds/7/x", id="file of the project"),
        pytest.param(b"/home/a/project", b"/builds/7", id="the project"),
        pytest.param(b"/srv/repository/x/y", b"/mnt/r/x/y", id="file of a repository"),
        pytest.param(b"/home/a/project2/x", b"/home/a/project2/x", id="neighbour"),
    ],
)
def test_a_path_of_the_project_is_one_in_every_checkout(here: bytes, there: bytes) -> None:
    assert THERE.local_path(HERE.portable_path(here)) == there
    assert HERE.is_in_project(here) is (here != there)


def test_a_project_in_the_top_directory_has_its_paths_as_they_are() -> None:
    at = Checkout((b"/",))

    assert at.portable_path(b"/usr/x") == b"/usr/x"
    assert not at.is_in_project(b"/usr/x")


@pytest.mark.parametrize(
    "path",
    [b"//project7/x", b"//project/../../etc/shadow", b"//projekt/x", b"//", b"/a//b", b"/a/./b",
     b"x", b"//project/a//b", b"/a/../b"],
)  # fmt: skip
def test_a_malformed_path_is_refused(path: bytes) -> None:
    with pytest.raises(EntryError, match="a path of a path set is malformed"):
        HERE.local_path(path)


def test_umask_and_owner_of_project_files_do_not_matter() -> None:
    one = {
        (b"/home/a/project/x", Aspect.CONTENT): "file 0664 1000:1000 sha256:1",
        (b"/home/a/project/run", Aspect.STAT): "file 0700 1000:1000",
        (b"/home/a/project", Aspect.STAT): "dir 0775 1000:1000",
        (b"/usr/x", Aspect.STAT): "file 0600 7:8",
    }
    other = {
        (b"/builds/7/x", Aspect.CONTENT): "file 0600 0:0 sha256:1",
        (b"/builds/7/run", Aspect.STAT): "file 0755 0:0",
        (b"/builds/7", Aspect.STAT): "dir 0700 0:0",
        (b"/usr/x", Aspect.STAT): "file 0600 7:8",
    }

    assert lines(one) == lines(other, THERE)
    # A list may have the mode of a file that it names by an absolute path.
    assert lines(one, is_bound=True) != lines(other, THERE, is_bound=True)
    assert path_set(one) == path_set(other, THERE)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({(b"/builds/7/x", Aspect.STAT): "file 0644 0:0"}, id="not executable"),
        pytest.param({(b"/builds/7/x", Aspect.STAT): "dir 0755 0:0"}, id="directory"),
        pytest.param({(b"/builds/7/x", Aspect.STAT): "absent"}, id="absent"),
        pytest.param({(b"/builds/7/x", Aspect.STAT): "link y"}, id="link"),
        pytest.param({(b"/builds/7/y", Aspect.STAT): "file 0755 0:0"}, id="name"),
        pytest.param({(b"/builds/7/x", Aspect.SIZE): "file 0755 0:0"}, id="aspect"),
        pytest.param({(b"/usr/x", Aspect.STAT): "file 0755 0:0"}, id="file of the machine"),
    ],
)
def test_all_else_matters(other: States) -> None:
    assert lines({(b"/home/a/project/x", Aspect.STAT): "file 0755 1:1"}) != lines(other, THERE)


def test_inode_numbers_only_say_which_paths_are_one_file() -> None:
    def hard(*numbers: str) -> list[str]:
        return lines({(b"/usr/%d" % at, Aspect.HARD): found for at, found in enumerate(numbers)})

    assert hard("17", "17", "single") == hard("99", "99", "single")
    assert hard("17", "18", "single") == hard("single", "single", "single")
    assert hard("17", "17", "single") != hard("17", "single", "17")
    assert hard("1", "1", "2", "2") != hard("1", "2", "1", "2")


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ((b"/usr/x", Aspect.STAT), "moved"),
        ((b"/usr/x", Aspect.STAT), "unknown cannot look at /usr/x: Permission denied"),
    ],
)
def test_a_state_without_meaning_elsewhere_is_not_shared(
    key: tuple[bytes, Aspect], found: str
) -> None:
    with pytest.raises(UnsharedError, match="stat of /usr/x"):
        lines({key: found})


HOSTILE = [
    pytest.param((b"unix:///run/docker.sock x", Aspect.IMAGE), id="engine"),
    pytest.param((b"registry.example/x:1", Aspect.TAG), id="registry"),
    pytest.param((b"/proc/kcore", Aspect.CONTENT), id="memory of the kernel"),
    pytest.param((b"/dev/zero", Aspect.SECRET), id="device"),
    pytest.param((b"/sys/x", Aspect.LISTING), id="file of the kernel"),
]


@pytest.mark.parametrize("key", HOSTILE)
def test_no_path_set_asks_for_more_than_files(key: tuple[bytes, Aspect]) -> None:
    with pytest.raises(UnsharedError):
        path_set({key: "x"})
    with pytest.raises(EntryError):
        hostile = write_path_sets([(PathSet(False, False, ({key: ""},)), b"")])
        read_path_sets(hostile)[0][0].local(HERE)


def test_path_sets_are_read_as_they_were_written() -> None:
    states = {
        (b"/usr/\xff x", Aspect.STAT): "absent",
        (b"/home/a/project/x", Aspect.CONTENT): "file 0644 0:0 sha256:1",
        (b"libc.so.6", Aspect.SONAME): "sha256:2",
        (b"/tmp", Aspect.VIEW): "hidden",
        (b"env", Aspect.SETTING): "absent",
    }
    made = PathSet.of([states, {}], HERE, is_bound=True, is_personal=False)

    [(found, last)] = read_path_sets(write_path_sets([(made, b"1234")]))

    assert (found, last) == (made, b"1234")
    assert found.local(THERE)[0].keys() == {
        (b"/usr/\xff x", Aspect.STAT),
        (b"/builds/7/x", Aspect.CONTENT),
        (b"libc.so.6", Aspect.SONAME),
        (b"/tmp", Aspect.VIEW),
        (b"env", Aspect.SETTING),
    }
    assert found.local(THERE)[0][b"/tmp", Aspect.VIEW] == "hidden"
    many = write_path_sets([(made, b"")] * (MAX_SETS + 3))
    assert len(read_path_sets(many)) == MAX_SETS


def _text(**changes: object) -> bytes:
    one = {"flags": [False, False], "steps": [{"stat": {"/x": ""}}], "marks": "", **changes}
    document = {"format": "scratch_image path sets 1", "values": {"sets": [one]}}
    return zlib.compress(json.dumps(document).encode())


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"junk", id="junk"),
        pytest.param(_text()[:-1], id="cut"),
        pytest.param(_text() + b"x", id="more"),
        pytest.param(zlib.compress(bytes(33 << 20)), id="bomb"),
        pytest.param(zlib.compress(b"{}"), id="other JSON"),
        pytest.param(_text(steps=[{"sta": {"/x": ""}}]), id="aspect"),
        pytest.param(_text(steps=[{"stat": {"/x": "word"}}]), id="word"),
        pytest.param(_text(steps=[{"view": {"/x": ""}}]), id="view without a word"),
        pytest.param(_text(steps=[{"stat": {"/x\0": ""}}]), id="zero"),
        pytest.param(_text(steps=[{"stat": {"x": ""}}]), id="relative"),
        pytest.param(_text(steps=[{"image": {"/x": ""}}]), id="engine"),
        pytest.param(_text(steps=[{"stat": {f"/{n}": "" for n in range(200_001)}}]), id="many"),
        pytest.param(_text(steps=7), id="number"),
        pytest.param(_text(flags=[1]), id="flags"),
        pytest.param(_text(marks="x"), id="marks"),
    ],
)
def test_hostile_path_sets_are_refused(text: bytes) -> None:
    with pytest.raises(EntryError):
        read_path_sets(text)


def test_a_good_text_is_none_of_these() -> None:
    assert read_path_sets(_text())[0][0].looks == ({(b"/x", Aspect.STAT): ""},)


def test_unpack_stops_at_the_limit() -> None:
    assert unpack(zlib.compress(b"12345"), 5) == b"12345"
    with pytest.raises(EntryError, match="no whole zlib stream"):
        unpack(zlib.compress(b"123456"), 5)


def test_marks_show_which_look_differs() -> None:
    known = lines({(b"/a", Aspect.STAT): "absent", (b"/b", Aspect.STAT): "absent"})
    now = lines({(b"/a", Aspect.STAT): "absent", (b"/b", Aspect.STAT): "file 0644 0:0"})

    assert differing_paths(now, marks(known)) == ["stat /b"]
    assert differing_paths(now, marks(now)) == []
