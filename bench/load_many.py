"""Time to load many small images one by one, as builds do, against one archive that holds all.

Run as root, ``.venv/bin/python bench/load_many.py [ROUNDS]``; starts engines of its own: Docker as
this machine has it, and Debian 13's with either store. Prints medians of the rounds, in which the
ways take turns, and their ratios. The one archive is made before the clock starts, as no build
could: it tells the most that one go may save.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).parents[1]
sys.path[:0] = [str(TOP / "site_scons/site_tools"), str(TOP / "tests/support")]

from engines import dockerd, newer_dockerd  # noqa: E402
from scratch_image.files.entry import Entry  # noqa: E402
from scratch_image.fs.root import Root, WatchedFileSystem  # noqa: E402
from scratch_image.image import archive, layer  # noqa: E402
from scratch_image.image.config import Image  # noqa: E402
from scratch_image.image.reference import Reference  # noqa: E402
from scratch_image.image.settings import Settings  # noqa: E402
from scratch_image.publish import engine, engine_client  # noqa: E402
from scratch_image.publish.engine import LoadedImage  # noqa: E402

ROUNDS = 5
COUNTS = (10, 50)
BYTES = 4_000_000
"""Of each image."""
SHARED = 7
"""Layers of an image that all others have, too; each, and its own, has as many bytes."""

ENGINES: dict[str, Callable[[Path], AbstractContextManager[str]]] = {
    "this machine's Docker": dockerd,
    "Debian 13's, graph driver": lambda place: newer_dockerd(place, containerd=False),
    "Debian 13's, containerd store": lambda place: newer_dockerd(place, containerd=True),
}


@dataclass(frozen=True, slots=True)
class Case:
    """Images to be loaded."""

    name: str
    before: tuple[bytes, ...]
    """Archives that the engine has."""
    paths: tuple[bytes, ...]
    """Archives that it is given."""
    together: Path
    """One archive with all of these, but for the layers that the engine has."""


def pack(directory: Path, name: str, size: int) -> bytes:
    """Make a layer of one file with `size` random bytes; return where it lies."""
    content, tar, path = directory / name, directory / f"{name}.tar", f"/{name}".encode()
    content.write_bytes(os.urandom(size))
    with tar.open("wb") as sink:
        entries = [Entry("file", 0o644, 0, 0, path)]
        layer.write(
            sink, entries, Root(WatchedFileSystem(b"/", {path: os.fsencode(content)}, epoch=0))
        )
    return os.fsencode(tar)


def build(directory: Path, name: str, tag: str, layers: Sequence[bytes]) -> bytes:
    """Make the image of these layers; return its archive."""
    image = Image(Settings("amd64", cmd=["x"]), tuple(layer.read(path) for path in layers))
    path = directory / f"{name}.oci.tar"
    with path.open("wb") as sink:
        archive.write(sink, image, layers, [Reference.parse(tag)])
    return os.fsencode(path)


def join(target: Path, paths: Sequence[bytes], present: Sequence[bytes]) -> Path:
    """Write one archive with the images of all `paths`, but for layers of those `present`."""
    known = {f"blobs/{each}".replace(":", "/") for p in present for each in archive.read(p).layers}
    members: dict[str, bytes] = {}
    listed, named = [], []
    for path in paths:
        with tarfile.open(os.fsdecode(path)) as tar:
            found = {each.name: tar.extractfile(each) for each in tar if each.isfile()}
            read = {name: file.read() for name, file in found.items() if file and name not in known}
        index = json.loads(read.pop("index.json"))
        listed += index["manifests"]
        named += json.loads(read.pop("manifest.json"))
        members.update(read)
    documents = {"index.json": {**index, "manifests": listed}, "manifest.json": named}
    texts = {name: json.dumps(document).encode() for name, document in documents.items()}
    with tarfile.open(target, "w") as tar:
        for name, data in (texts | members).items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return target


def cases(directory: Path, count: int) -> Iterator[Case]:
    """Make the images."""
    numbers = range(count)
    single = [
        build(directory, f"s{n}", f"single{n}", [pack(directory, f"s{n}", BYTES)]) for n in numbers
    ]
    size = BYTES // (SHARED + 1)
    shared = [pack(directory, f"p{number}", size) for number in range(SHARED)]
    old, new = (
        [
            build(
                directory, f"{age}{n}", f"layered{n}", [*shared, pack(directory, f"{age}{n}", size)]
            )
            for n in numbers
        ]
        for age in ("old", "new")
    )
    wanted = {
        "one layer": ([], single),
        "layers, all new": ([], new),
        "layers, own new": (old, new),
    }
    for number, (name, (before, paths)) in enumerate(wanted.items()):
        together = join(directory / f"together{number}.tar", paths, before)
        yield Case(name, tuple(before), tuple(paths), together)


def one_by_one(address: str, case: Case, known: list[LoadedImage], jobs: int) -> None:
    """Load as many steps of a build do, of which `jobs` run at once."""

    def step(path: bytes) -> None:
        known.append(engine.load(address, path, tuple(known)))

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(step, case.paths))


def in_one_go(address: str, case: Case) -> None:
    """Load the one archive, and ask for all images before and after, as a build would have to."""
    tags = [archive.read(path).references[0].familiar for path in case.paths]
    for tag in tags:
        engine.image_id(address, tag)
    with (
        case.together.open("rb") as file,
        engine_client.call(
            address, 600.0, "POST", "/images/load", iter(lambda: file.read(1 << 20), b"")
        ) as answer,
    ):
        refusal = engine.refusal(address, answer)
    assert not refusal, refusal
    assert all(engine.image_id(address, tag) for tag in tags)


def seconds(address: str, case: Case, way: Callable[[list[LoadedImage]], None]) -> float:
    """Return how long one `way` takes, on an engine that has only what was there before."""
    docker = ["docker", "-H", address, "image"]
    subprocess.run([*docker, "prune", "-af"], check=True, capture_output=True)
    known: list[LoadedImage] = []
    for path in case.before:
        known.append(engine.load(address, path, tuple(known)))
    begun = time.perf_counter()
    way(known)
    return time.perf_counter() - begun


def compare(address: str, case: Case, rounds: int) -> None:
    """Measure the ways in turn, and print them."""
    ways: dict[str, Callable[[list[LoadedImage]], None]] = {
        "one by one": lambda known: one_by_one(address, case, known, 1),
        "two at once": lambda known: one_by_one(address, case, known, 2),
        "in one go": lambda _: in_one_go(address, case),
    }
    taken = [[seconds(address, case, way) for way in ways.values()] for _ in range(rounds)]
    one, two, go = map(statistics.median, zip(*taken, strict=True))
    print(
        f"  {len(case.paths):3} images, {case.name:16}"
        f"  one by one {one:6.2f} s  two at once {two:6.2f} s  in one go {go:6.2f} s,"
        f" {go / one:.2f} and {go / two:.2f} of it",
        flush=True,
    )


def main() -> None:
    """Measure all engines."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory() as name:
        made = []
        for count in COUNTS:
            place = Path(name, str(count))
            place.mkdir()
            made += cases(place, count)
        for number, (title, start) in enumerate(ENGINES.items()):
            with start(Path(name, f"engine{number}")) as address:
                print(title)
                for case in made:
                    compare(address, case, rounds)


if __name__ == "__main__":
    main()
