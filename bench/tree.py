"""A repository of 1000 images against bare SCons: one image asked for, and a null build of all.

Run as ``.venv/bin/python bench/tree.py [IMAGES]``; prints CPU time and peak memory, medians of
five runs in turn, and the median of their ratios. Bare SCons is an empty SConstruct with one
``Environment()`` in the first case. In the second it has the same targets: as many builder calls
with as many sources and targets each, in as many SConscripts.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

TOOLS = Path(__file__).parents[1] / "site_scons/site_tools"
IMAGES = 1000
ROUNDS = 5

TREE = f"""\
DefaultEnvironment(tools=[])
env = Environment(tools=["scratch_image"], toolpath=[{str(TOOLS)!r}])
env.ImageTree("images")
"""

IMAGE = """\
Import("env")
env.ScratchImage("image{0}", "/bin/true", IMAGE_TAG="image{0}:1", IMAGE_LABELS={{"n": "{0}"}})
"""

BARE = """\
DefaultEnvironment(tools=[])
env = Environment(tools=[])
def touch(target, source, env):
    for node in target:
        with open(str(node), "w") as stream:
            stream.write(str(node))
step = Builder(action=Action(touch, lambda target, source, env: ""))
env["BUILDERS"].update(Step=step)
built = []
for name in sorted(__import__("os").listdir("images")):
    place = dict(variant_dir=f"#build/images/{name}", duplicate=0)
    built.append(SConscript(f"#images/{name}/SConscript", exports="env", **place))
env.Alias("images", built)
"""

BARE_IMAGE = """\
Import("env")
trace = env.Step(["image{0}.strace", "image{0}.trace", "image{0}.stdout"], "/bin/true")
ldd = env.Step("image{0}.ldd", "/bin/true")
files = env.Step("image{0}.files", [trace[1], ldd])
tar = env.Step("image{0}.tar", files)
image = env.Step("image{0}.oci.tar", [tar, ldd])
Return("trace", "ldd", "files", "tar", "image")
"""


@dataclass(frozen=True)
class Cost:
    """The cost of one run of SCons."""

    seconds: float
    """User and system time."""
    megabytes: float
    """Peak of its memory."""


def write(directory: Path, sconstruct: str, sconscript: str, images: int) -> Path:
    """Make a repository of `images`."""
    directory.mkdir()
    (directory / "SConstruct").write_text(sconstruct)
    for number in range(images):
        place = directory / "images" / f"image{number}"
        place.mkdir(parents=True)
        (place / "SConscript").write_text(sconscript.format(number))
    return directory


def scons(directory: Path, *arguments: str) -> Cost:
    """Run a quiet SCons."""
    variables = {key: text for key, text in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    variables["DOCKER_HOST"] = "unix:///nonexistent"
    command = [sys.executable, "-m", "SCons", "-Q", *arguments]
    process = subprocess.Popen(command, cwd=directory, env=variables, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def compare(what: str, ours: tuple[Path, str], bare: tuple[Path, str]) -> None:
    """Measure null builds in turn, so that both see the same machine, and print them."""
    scons(*ours), scons(*bare)
    pairs = [(scons(*ours), scons(*bare)) for _ in range(ROUNDS)]
    print(what)
    for at, name in enumerate(("scratch_image", "bare SCons")):
        seconds = statistics.median(pair[at].seconds for pair in pairs)
        megabytes = statistics.median(pair[at].megabytes for pair in pairs)
        print(f"  {name:14} {seconds:6.2f} s CPU  {megabytes:4.0f} MB")
    ratio = statistics.median(a.seconds / b.seconds for a, b in pairs)
    print(f"  {'ratio':14} {ratio:6.2f}", flush=True)


def main() -> None:
    """Build all once, then measure."""
    images = int(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        tree = write(place / "tree", TREE, IMAGE, images)
        bare = write(place / "bare", BARE, BARE_IMAGE, images)
        empty = write(place / "empty", "Environment()\n", "", 0)
        scons(tree, "images"), scons(bare, "images")
        compare(f"one image of {images}", (tree, "images/image1"), (empty, "."))
        compare(f"all {images} images", (tree, "images"), (bare, "images"))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
