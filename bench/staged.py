"""CPU time of a null build with 2,000 staged files, against one with 20.

The builds have no seal: SCons walks all steps. Run as ``.venv/bin/python bench/staged.py``; prints
medians of paired runs and their ratio, which is to be at most 2.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from null_build import TOP, cpu_seconds

FEW, MANY = 20, 2000
RUNS = 9

SCONSTRUCT = """\
env = Environment(tools=["scratch_image"], toolpath=[{tools!r}], DOCKER_HOST="unix:///nowhere")
files = {{f"/srv/data/{{each % 20}}/{{each}}": f"data/{{each}}" for each in range({count})}}
env.ScratchImage("build/app", {{"/srv/main": "main", **files}})
"""


def make(directory: Path, count: int) -> Path:
    """Return a project with an image of `count` staged data files, which has been built."""
    (directory / "data").mkdir(parents=True)
    for each in range(count):
        (directory / f"data/{each}").write_text(f"{each}\n")
    (directory / "main").write_text("#!/bin/cat\n")
    (directory / "main").chmod(0o755)
    tools = str(TOP / "site_scons/site_tools")
    (directory / "SConstruct").write_text(SCONSTRUCT.format(tools=tools, count=count))
    for _ in range(2):
        cpu_seconds(directory, "build/app.oci.tar")
    return directory


def main() -> None:
    """Measure in turn, so that both see the same machine."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        places = [make(Path(directory) / str(count), count) for count in (MANY, FEW)]
        pairs = [[cpu_seconds(each, "build/app.oci.tar") for each in places] for _ in range(RUNS)]
    many, few = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(pair[0] / pair[1] for pair in pairs)
    print(f"null build of {MANY} staged files  {many * 1000:.0f} ms CPU")
    print(f"null build of {FEW} staged files    {few * 1000:.0f} ms CPU")
    print(f"ratio                            {ratio:.2f} (median of {RUNS} pairs)")


if __name__ == "__main__":
    main()
