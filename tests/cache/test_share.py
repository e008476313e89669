"""A share on a real store: hits, misses, damage, and a store that fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from scratch_image.cache import share
from scratch_image.cache.directory_store import DirectoryStore
from scratch_image.cache.entry import BlobDigest
from scratch_image.cache.path_set import MAX_SETS, Checkout, States, UnsharedError
from scratch_image.cache.result import StepResult
from scratch_image.cache.share import Looks, Share, Unit
from scratch_image.cache.signature import Signatures
from scratch_image.cache.store import StoreError
from scratch_image.fs.root import Aspect

WEAK = "0" * 64
HERE, THERE = Checkout((b"/here/a",)), Checkout((b"/there/b",))
SMALL = StepResult((b"small", b""), "2 files", 1.5)
LARGE = StepResult((bytes(range(256)) * 4000 + os.urandom(300_000),), "1", 2.0)


def key(name: str) -> tuple[bytes, Aspect]:
    return name.encode(), Aspect.STAT


@dataclass(frozen=True)
class Seen:
    states: States


@dataclass
class World:
    """The files of a machine."""

    states: dict[tuple[bytes, Aspect], str] = field(default_factory=dict)

    def take(self, looks: Sequence[Looks]) -> list[Seen]:
        return [Seen({each: self.states.get(each, "absent") for each in one}) for one in looks]


class Machine:
    """A share, and what it prints."""

    def __init__(self, store: DirectoryStore, signatures: Signatures | None = None) -> None:
        self.said: list[str] = []
        self.log: list[str] = []
        self.share = Share(
            "/cache", store, signatures or Signatures(), self.said.append, self.log.append
        )

    def unit(self, world: World, at: Checkout = HERE, counts: Iterable[int] = (2,)) -> Unit[Seen]:
        return Unit("LIST x", [WEAK], at, tuple(counts), world.take)

    def find(self, world: World, at: Checkout = HERE, counts: Iterable[int] = (2,)) -> bool:
        found = self.share.look_up(self.unit(world, at, counts))
        return found is not None

    def keep(self, world: World, *results: StepResult, at: Checkout = HERE) -> None:
        unit = self.unit(world, at, [len(each.outputs) for each in results])
        self.share.keep(unit, WEAK, [world.states] * len(results), results)
        assert self.share.finish(60)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def machine(place: Path) -> Machine:
    return Machine(DirectoryStore(str(place)))


def test_a_result_is_found_where_all_is_as_it_was(machine: Machine) -> None:
    world = World({key("/usr/x"): "file 0644 0:0", key("/usr/y"): "absent"})
    assert not machine.find(world)
    assert machine.log[-1] == "LIST x: no result of the same step and sources"

    machine.keep(world, SMALL)

    found = machine.share.look_up(machine.unit(world))
    assert found is not None
    assert found.results == [SMALL]
    assert found.taken[0].states == world.states
    world.states[key("/usr/y")] = "file 0644 0:0"
    assert not machine.find(world)
    assert machine.log[-1] == (
        "LIST x: stat /usr/y differs, in the nearest of 1 path sets (step 0)"
    )
    world.states[key("/usr/y")] = "absent"
    assert machine.find(world)


def test_another_checkout_finds_it_by_its_own_paths(machine: Machine) -> None:
    machine.keep(World({key("/here/a/x"): "file 0600 5:5"}), SMALL)

    assert machine.find(World({key("/there/b/x"): "file 0664 7:7"}), THERE)
    assert not machine.find(World({key("/here/a/x"): "file 0600 5:5"}), THERE)


@pytest.mark.parametrize(
    "result",
    [StepResult((b"see /here/a/x", b""), "1", 1.0), StepResult((b"", b""), "at /here/a", 1.0)],
    ids=["output", "line"],
)
def test_a_result_that_names_the_checkout_is_bound_to_it(
    machine: Machine, result: StepResult
) -> None:
    machine.keep(World({key("/here/a/x"): "file 0600 5:5"}), result)

    assert not machine.find(World({key("/there/b/x"): "file 0600 5:5"}), THERE)
    assert machine.find(World({key("/here/a/x"): "file 0600 5:5"}))
    # The list may have the mode.
    assert not machine.find(World({key("/here/a/x"): "file 0644 5:5"}))


def test_a_result_that_something_was_forbidden_to_is_for_its_user(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = StepResult((b'openat("/x") = -1 EACCES (Permission denied)', b""), "1", 1.0)
    machine.keep(World(), denied)

    assert machine.find(World())
    monkeypatch.setattr("os.geteuid", lambda: 4711)
    assert not machine.find(World())


def test_several_results_of_one_step_are_kept(machine: Machine) -> None:
    worlds = [World({key(f"/usr/{n}"): "absent"}) for n in range(MAX_SETS + 2)]
    for world in worlds:
        machine.keep(world, SMALL)
    others = [World({key("/usr/5"): f"file 0644 {n}:0"}) for n in range(40)]
    for world in others:
        machine.keep(world, SMALL)

    # One path set has any number of results.
    assert all(machine.find(world) for world in others)
    # All are the same result where nothing is there.
    assert machine.find(World())


@pytest.mark.parametrize("state", ["moved", "unknown cannot read /usr/x: Permission denied"])
def test_a_state_that_cannot_be_told_is_not_kept(machine: Machine, place: Path, state: str) -> None:
    machine.keep(World({key("/usr/x"): state}), SMALL)

    assert not place.exists()
    assert machine.log == [f"LIST x: not kept: stat of /usr/x is {state}"]


def test_a_state_that_cannot_be_told_here_is_a_miss(machine: Machine) -> None:
    machine.keep(World({key("/usr/x"): "absent"}), SMALL)

    assert not machine.find(World({key("/usr/x"): "unknown"}))
    assert machine.log[-1] == "LIST x: no path set can be used"


def test_a_step_that_cannot_look_is_a_miss(machine: Machine) -> None:
    machine.keep(World({key("/usr/x"): "absent"}), SMALL)

    def take(looks: Sequence[Looks]) -> list[Seen]:
        raise UnsharedError("cannot stage /x: it does not exist; build it")

    assert machine.share.look_up(Unit("LIST x", [WEAK], HERE, (2,), take)) is None


def test_other_numbers_of_targets_are_a_miss(machine: Machine) -> None:
    machine.keep(World(), SMALL)

    assert not machine.find(World(), counts=(2, 1))
    assert not machine.find(World(), counts=(3,))
    assert machine.find(World())


# Damage


def _entries(place: Path) -> list[Path]:
    return sorted(each for each in (place / "ac").rglob("*") if each.is_file())


def _blob(place: Path) -> Path:
    digest = BlobDigest.of(LARGE.outputs[0])
    return place / "cas" / digest.hex[:2] / digest.hex


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _swap(place: Path) -> None:
    one, other = _entries(place)
    text = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(text)


def _each(damage: Callable[[Path], None]) -> Callable[[Path], None]:
    def damage_all(place: Path) -> None:
        for path in _entries(place):
            damage(path)

    return damage_all


DAMAGES = [
    pytest.param(lambda place: _flip(_blob(place)), id="blob flipped"),
    pytest.param(lambda place: _blob(place).write_bytes(LARGE.outputs[0][:-1]), id="blob cut"),
    pytest.param(lambda place: _blob(place).unlink(), id="blob gone"),
    pytest.param(_each(_flip), id="entries flipped"),
    pytest.param(lambda place: [each.write_bytes(b"junk") for each in _entries(place)],
                 id="entries junk"),
    pytest.param(lambda place: [each.write_bytes(b"") for each in _entries(place)],
                 id="entries empty"),
    pytest.param(lambda place: [each.write_bytes(bytes(5 << 20)) for each in _entries(place)],
                 id="entries too large"),
    pytest.param(_each(Path.unlink), id="entries gone"),
    pytest.param(_swap, id="entries of other keys"),
    pytest.param(lambda place: shutil.rmtree(place), id="all gone"),
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_not_used_and_written_again(
    machine: Machine, place: Path, damage: Callable[[Path], None]
) -> None:
    world = World({key("/usr/x"): "absent"})
    machine.keep(world, LARGE)
    damage(place)

    later = Machine(DirectoryStore(str(place)))
    assert not later.find(world, counts=(1,))
    later.keep(world, LARGE)

    assert later.find(world, counts=(1,))
    assert later.said == []


def test_only_signed_entries_are_used_where_keys_are_trusted(place: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef" * 4)
    store = DirectoryStore(str(place))
    world = World({key("/usr/x"): "absent"})
    Machine(store).keep(world, SMALL)
    reader, writer = (Machine(store, Signatures(str(secret))) for _ in range(2))

    assert not reader.find(world)
    assert "no signature of a key that is trusted" in reader.log[0]
    writer.keep(world, SMALL)
    assert reader.find(world)
    assert Machine(store).find(world)
    _swap(place)
    assert not reader.find(world)


# Failures of the store


class Failing(DirectoryStore):
    """A store that fails at one call, and counts the calls."""

    def __init__(self, directory: str, call: str, *, writing: bool = False) -> None:
        super().__init__(directory)
        self.failing, self.writing = call, writing
        self.calls: list[str] = []

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if call == self.failing:
            raise StoreError("it is on fire", "use water", writing=self.writing)

    def entry(self, key: BlobDigest) -> bytes | None:
        self._note("entry")
        return super().entry(key)

    def blob(self, digest: BlobDigest) -> bytes | None:
        self._note("blob")
        return super().blob(digest)

    def keep(
        self,
        key: BlobDigest,
        entry: bytes,
        blobs: Mapping[BlobDigest, bytes],
        *,
        resend: bool = False,
    ) -> None:
        self._note("keep")
        super().keep(key, entry, blobs, resend=resend)


@pytest.mark.parametrize("call", ["entry", "blob", "keep"])
def test_the_first_failure_is_the_last_use_of_a_store(
    machine: Machine, place: Path, call: str
) -> None:
    world = World({key("/usr/x"): "absent"})
    machine.keep(world, LARGE)
    store = Failing(str(place), call)
    other = Machine(store)

    assert other.find(world, counts=(1,)) is (call == "keep")
    other.keep(world, LARGE)
    used = len(store.calls)
    other.find(world, counts=(1,))
    other.keep(world, LARGE)

    assert len(store.calls) == used
    assert other.said == ["cannot use cache /cache: it is on fire; use water"]
    assert other.share.is_off


def test_a_store_that_cannot_be_written_to_is_still_read(machine: Machine, place: Path) -> None:
    world = World({key("/usr/x"): "absent"})
    machine.keep(world, SMALL)
    store = Failing(str(place), "keep", writing=True)
    other = Machine(store)

    other.keep(World(), SMALL)
    other.keep(World(), SMALL)

    assert other.find(world)
    assert store.calls.count("keep") == 1
    assert other.said == []
    assert other.log[0] == "cannot write to cache /cache: it is on fire; use water"


def test_a_full_disk_stops_writing_only(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk]).returncode:
        pytest.skip("only root may mount")
    try:
        full = Machine(DirectoryStore(str(disk / "cache")))
        full.keep(World(), SMALL)
        full.keep(World({key("/usr/x"): "absent"}), LARGE)

        assert full.share.is_read_only
        assert not full.share.is_off
        assert full.find(World())
        assert not list(disk.rglob("*.new"))
        assert "No space left on device" in full.log[1]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_counts_say_what_the_cache_was_good_for(machine: Machine) -> None:
    machine.keep(World(), SMALL)
    machine.find(World())
    machine.share.count_step(SMALL)
    machine.share.count_step(None)

    counts = machine.share.counts
    assert (counts.steps, counts.hits, counts.seconds) == (2, 1, 1.5)
    assert 0 < counts.received < 2000
    machine.share.close()


def test_store_that_is_too_slow_is_a_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    class Slow(DirectoryStore):
        def entry(self, key: BlobDigest) -> bytes | None:
            go_on.wait(60)
            return None

    machine = Machine(Slow(str(place)))
    monkeypatch.setattr(share, "_PATIENCE", 0.05)
    unit = machine.unit(World())
    machine.share.keep(unit, WEAK, [World().states], [SMALL])
    machine.share.close()
    go_on.set()

    assert machine.share.finish(60)
    assert machine.said == [
        "cannot write to cache /cache: it is too slow; let it be nearer, or only read from it"
    ]
