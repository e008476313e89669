"""Time to load an image of 300 MB again after one file has changed, against a load from nothing.

Run as root, ``.venv/bin/python bench/load.py``; starts a dockerd of its own. The image is in
layers by package; its packages are random files of a small sysroot. Prints medians and ratios.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TOP = Path(__file__).parents[1]
sys.path[:0] = [str(TOP / "site_scons/site_tools"), str(TOP / "tests/support")]

from debs import install  # noqa: E402
from engines import dockerd  # noqa: E402
from scratch_image.files.merge import merge  # noqa: E402
from scratch_image.files.request import Request  # noqa: E402
from scratch_image.fs.overlay import Overlay  # noqa: E402
from scratch_image.fs.root import Root, WatchedFileSystem  # noqa: E402
from scratch_image.image import archive, layer_stack  # noqa: E402
from scratch_image.image.config import Image  # noqa: E402
from scratch_image.image.reference import Reference  # noqa: E402
from scratch_image.image.settings import Settings  # noqa: E402
from scratch_image.publish import engine  # noqa: E402

PACKAGES = 15
BYTES = 20_000_000
"""Of each package."""
ROUNDS = 3


def build(directory: Path, own: str) -> bytes:
    """Make the image whose own file holds `own`; return its archive."""
    (directory / "base/own").write_text(own)
    view = Overlay(
        Root(WatchedFileSystem(os.fsencode(directory / "base"), epoch=7)), os.fsencode(directory)
    )
    paths = [b"/own", *(b"/usr/lib/p%d" % number for number in range(PACKAGES))]
    entries = merge(view, [Request(path, "bench") for path in paths])
    groups = layer_stack.plan(view, entries)
    text = os.fsencode(directory / "x.layers")
    blobs = [layer_stack.pack(text, group, view, ".tar")[0] for group in groups]
    image = Image(Settings("amd64", cmd=["x"]), tuple(blob.layer for blob in blobs))
    path = directory / f"{own}.oci.tar"
    with path.open("wb") as sink:
        archive.write(sink, image, [blob.path for blob in blobs], [Reference.parse("bench")])
    return os.fsencode(path)


def seconds(work: Callable[[], object]) -> float:
    """Return how long `work` takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> None:
    """Load from nothing, after a change, and after none, in turn."""
    with tempfile.TemporaryDirectory() as name, dockerd(Path(name) / "engine") as address:
        directory = Path(name)
        for number in range(PACKAGES):
            text = os.urandom(BYTES // 2).hex()
            install(directory / "base", f"p{number}", {f"/usr/lib/p{number}": text})
        first, second = build(directory, "first"), build(directory, "second")
        rounds = []
        for _ in range(ROUNDS):
            whole = seconds(lambda: engine.load(address, first))
            changed = seconds(lambda: engine.load(address, second))
            nothing = seconds(lambda: engine.load(address, second))
            asked = seconds(lambda: engine.image_id(address, "bench"))
            rounds.append((whole, changed, nothing, asked))
            remove = ["docker", "-H", address, "image", "prune", "-af"]
            subprocess.run(remove, check=True, capture_output=True)
        size = os.path.getsize(first) / 1e6
    whole, changed, nothing, asked = map(statistics.median, zip(*rounds, strict=True))
    print(f"{size:.0f} MB, {PACKAGES + 1} layers; medians of {ROUNDS} rounds")
    print(f"from nothing      {whole:7.3f} s")
    print(f"one file changed  {changed:7.3f} s, {changed / whole:.3f} of it")
    print(f"nothing changed   {nothing:7.3f} s, {nothing / asked:.1f} times one inspect")


if __name__ == "__main__":
    main()
