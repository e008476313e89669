"""MB a second of CPU time at which a layer is written and hashed, against sha256sum and GNU tar.

Run as ``.venv/bin/python bench/layer.py``; packs shared libraries and C headers of this machine,
200 MB of each at most, and prints medians of rounds in which all take turns.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

TOP = Path(__file__).parents[1]
sys.path.insert(0, str(TOP / "site_scons/site_tools"))

from scratch_image.files.entry import Entry  # noqa: E402
from scratch_image.fs.paths import parents  # noqa: E402
from scratch_image.fs.root import Root  # noqa: E402
from scratch_image.image import layer  # noqa: E402

KINDS = (("/usr/lib", "*.so*"), ("/usr/include", "*"))
"""Few large files, and many small ones."""
BYTES = 200_000_000
ROUNDS = 7


def chosen(place: str, pattern: str) -> tuple[list[Path], int]:
    """Return files of this machine, and their bytes together."""
    files, size = [], 0
    for path in sorted(Path(place).rglob(pattern)):
        if path.is_file() and not path.is_symlink() and size < BYTES:
            files.append(path)
            size += path.stat().st_size
    return files, size


def entries(files: Sequence[Path]) -> list[Entry]:
    """Return the file list of an image of `files`."""
    paths = [os.fsencode(path) for path in files]
    above = {each for path in paths for each in parents(path)} - {b"/"}
    return [Entry("dir", 0o755, 0, 0, path) for path in sorted(above)] + [
        Entry("file", 0o644, 0, 0, path) for path in paths
    ]


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the user and system time that `work` takes here and in its child processes."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    before = [resource.getrusage(each) for each in who]
    work()
    after = [resource.getrusage(each) for each in who]
    return sum(
        new.ru_utime - old.ru_utime + new.ru_stime - old.ru_stime
        for old, new in zip(before, after, strict=True)
    )


def main() -> None:
    """Measure each kind of files."""
    for place, pattern in KINDS:
        measure(*chosen(place, pattern))


def measure(files: Sequence[Path], size: int) -> None:
    """Measure in turn, so that all see the same machine."""
    listed, names = entries(files), "\0".join(map(str, files)).encode()
    with tempfile.TemporaryDirectory() as directory:
        made = Path(directory) / "made.tar"

        def ours() -> None:
            with made.open("wb") as sink:
                layer.write(sink, listed, Root())

        def run(*command: str) -> None:
            subprocess.run(command, input=names, stdout=subprocess.DEVNULL, check=True)

        works: dict[str, Callable[[], object]] = {
            "layer": ours,
            "sha256sum": lambda: run("xargs", "-0", "sha256sum"),
            "tar": lambda: run("tar", "-P", "--null", "-T", "-", "-cf", str(made)),
        }
        for work in works.values():
            work()
        rounds = [{name: cpu_seconds(work) for name, work in works.items()} for _ in range(ROUNDS)]
    print(f"{len(files)} files, {size / 1e6:.0f} MB, {size / len(files) / 1e3:.1f} kB each")
    for name in works:
        seconds = statistics.median(each[name] for each in rounds)
        ratio = statistics.median(each[name] / each["layer"] for each in rounds)
        print(f"{name:10} {size / 1e6 / seconds:5.0f} MB a CPU second, {ratio:.2f} of layer's time")


if __name__ == "__main__":
    main()
