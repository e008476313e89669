"""Results out of a cache against building: a second checkout, one image, filling, missing.

Run as ``.venv/bin/python bench/cache.py [IMAGES] [URL]``; prints CPU and wall time, the median of
three rounds in turn, and ratios with their goals. Without a URL the cache is a directory. A third
of the images have a program of the project, the others one of the machine.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

TOOLS = Path(__file__).parents[1] / "site_scons/site_tools"
IMAGES = 50
ROUNDS = 3

TREE = f"""\
DefaultEnvironment(tools=[])
env = Environment(tools=["scratch_image"], toolpath=[{str(TOOLS)!r}])
env.ImageTree("images")
"""

IMAGE = """\
Import("env")
env.ScratchImage("i{at}", {program}, RUNS=[{run}], IMAGE_TAG="i{at}:1")
"""

RUNS = {
    "/usr/bin/perl": ["perl", "-e", "use POSIX; use Data::Dumper; print 1"],
    "/usr/bin/python3": ["python3", "-c", "import json, ssl, sqlite3, email; print(1)"],
    **{
        f"/usr/bin/{name}": [name, "--version"]
        for name in ("sort", "sed", "grep", "tar", "find", "git", "bash")
    },
}
"""Programs of the machine, and a run of each."""


@dataclass(frozen=True)
class Cost:
    """The cost of a build."""

    seconds: float
    """Of CPU."""
    wall: float


def write(place: Path, images: int) -> None:
    """Write a project of `images` in `place`."""
    known = [path for path in RUNS if Path(path).exists()]
    (place / "images").mkdir(parents=True)
    (place / "SConstruct").write_text(TREE)
    program = place.parent / "program"
    code = "int main(void) { return 0; }"
    subprocess.run(["gcc", "-x", "c", "-", "-o", program], input=code.encode(), check=True)
    for at in range(images):
        image = place / f"images/i{at}"
        image.mkdir()
        path = known[at % len(known)]
        text, run = repr(path), RUNS[path]
        if at % 3 == 0:
            shutil.copy(program, image / "app")
            text, run = '{"/usr/bin/app": "app"}', ["app"]
        (image / "SConscript").write_text(IMAGE.format(at=at, program=text, run=run))


def build(project: Path, cache: str, *arguments: str) -> Cost:
    """Build a new checkout of `project` with `cache`, none if that is empty."""
    checkout = project.with_name("checkout")
    shutil.rmtree(checkout, ignore_errors=True)
    shutil.copytree(project, checkout)
    variables = {**os.environ, "DOCKER_HOST": "unix:///nonexistent", "IMAGE_CACHE": cache}
    variables.setdefault("IMAGE_CACHE_WRITE", "1")
    command = [sys.executable, "-m", "SCons", "-Q", "images", *arguments]
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=checkout, env=variables, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Cost(usage.ru_utime + usage.ru_stime, time.monotonic() - began)


def measure(images: int, url: str, place: Path) -> None:
    """Measure `images` images with a cache at `url`, or in directories."""
    project = place / "project"
    write(project, images)
    build(project, "")
    costs: dict[str, list[Cost]] = {}
    for number in range(ROUNDS):
        cache = url or str(place / f"cache{number}")
        kinds = {
            "without a cache": ("",),
            "empty cache": (str(place / "empty"), "--cache-readonly"),
            "filling": (cache,),
            "all from the cache": (cache, "--cache-readonly"),
        }
        for kind, arguments in kinds.items():
            costs.setdefault(kind, []).append(build(project, *arguments))
    print(f"{images} images")
    goals = {
        "empty cache": 1.03,
        "filling": 1.1,
        "all from the cache": 0.32 if images > 1 else 1.05,
    }
    bare = costs["without a cache"]
    for kind, found in costs.items():
        seconds, wall = (
            statistics.median(getattr(each, name) for each in found) for name in ("seconds", "wall")
        )
        ratio = statistics.median(a.seconds / b.seconds for a, b in zip(found, bare, strict=True))
        goal = f", goal {goals[kind]}" if kind in goals else ""
        print(f"  {kind:18} {seconds:6.2f} s CPU {wall:6.2f} s  {ratio:5.2f}{goal}", flush=True)


def main() -> None:
    """Measure as many images as the command line says, and one."""
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()] or [IMAGES, 1]
    url = next((word for word in sys.argv[1:] if not word.isdigit()), "")
    for images in numbers:
        with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
            measure(images, url, Path(name))


if __name__ == "__main__":
    main()
