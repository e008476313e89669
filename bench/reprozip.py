"""Time from a program to an archive of it, against ReproZip, which also traces and packs.

Run as ``.venv/bin/python bench/reprozip.py PATH_TO_REPROZIP`` (``pip install reprozip`` has it);
prints medians of paired runs and their ratio for each of nine programs. ReproZip has the option
not to ask dpkg for packages, which would take it longer; both compress by gzip.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TOP = Path(__file__).parents[1]
PACKAGES = TOP / "site_scons/site_tools"
DEBIAN = TOP / "tests/debian"
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
RUNS = 5

SCONSTRUCT = f"""DefaultEnvironment(tools=[])
tools = dict(tools=["scratch_image"], toolpath=[{str(PACKAGES)!r}])
Environment(LAYERTARSUFFIX=".tar.gz", **tools).ImageTree("images")
"""

PERL = "use JSON::PP; print JSON::PP->new->canonical->encode({a => 1})"
SERVE = "{0} & until {1}; do sleep 0.05; done >/dev/null 2>&1; kill $!; wait"
REDIS = "redis-server --port 16379 --bind 127.0.0.1 --dir /tmp --save ''"

PROGRAMS = {
    "fortune": [["fortune"]],
    "curl": [["curl", "--version"], ["curl", "-s", "file:///etc/debian_version"]],
    "python": [["python3", "-c", "import json, ssl; print(json.dumps(1))"]],
    "git": [["git", "--version"], ["git", "init", "-q", "/tmp/traced-repository"]],
    "nginx": [["sh", "-c", SERVE.format("nginx -c {images}/nginx/nginx.conf",
                                        "curl -s http://127.0.0.1:18080/")]],
    "redis": [["sh", "-c", SERVE.format(REDIS, "redis-cli -p 16379 set key value")]],
    "sqlite": [["sqlite3", ":memory:", "select 1"]],
    "perl": [["perl", "-e", PERL]],
    "report": [["sh", "{images}/report/report.sh"]],
}  # fmt: skip
"""The runs of the images of the same names, in arguments."""


def environment() -> dict[str, str]:
    """Return ours, with Debian's programs first and no engine."""
    path = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/games"
    changed = {"PATH": path, "DOCKER_HOST": "unix:///nonexistent"}
    return {**os.environ, **changed, "REPROZIP_USAGE_STATS": "off"}


def ours(directory: Path, name: str) -> None:
    """Build the archive of an image from nothing."""
    shutil.rmtree(directory / "build", ignore_errors=True)
    (directory / ".sconsign.dblite").unlink(missing_ok=True)
    target = f"build/images/{name}/{name}.oci.tar"
    command = [sys.executable, "-m", "SCons", "-Q", target]
    subprocess.run(command, cwd=directory, env=environment(), stdout=subprocess.DEVNULL, check=True)


def theirs(directory: Path, reprozip: str, name: str) -> None:
    """Trace the same runs and pack what they used."""
    trace, pack = directory / "trace", directory / "x.rpz"
    shutil.rmtree(trace, ignore_errors=True)
    pack.unlink(missing_ok=True)
    for at, run in enumerate(PROGRAMS[name]):
        words = [word.replace("{images}", str(DEBIAN / "images")) for word in run]
        more = ["--continue"] if at else ["--overwrite"]
        command = [reprozip, "trace", "-d", str(trace), "--dont-identify-packages", *more, *words]
        with (DEBIAN / "images/report/numbers.txt").open() as numbers:
            subprocess.run(
                command, env=environment(), stdin=numbers, capture_output=True, check=True
            )
    command = [reprozip, "pack", "-d", str(trace), str(pack)]
    subprocess.run(command, env=environment(), capture_output=True, check=True)


def seconds(action: Callable[[], None]) -> float:
    """Return how long `action` takes."""
    for path in Path("/tmp").glob("traced-*"):
        shutil.rmtree(path, ignore_errors=True)
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main(reprozip: str) -> None:
    """Measure in turn, so that both see the same machine."""
    with tempfile.TemporaryDirectory() as temporary:
        images, place = Path(temporary) / "debian", Path(temporary)
        shutil.copytree(DEBIAN, images)
        (images / "SConstruct").write_text(SCONSTRUCT)
        shutil.copy(BUNDLE, images / "images/curl/bundle.pem")
        for name in PROGRAMS:
            pairs = [
                (
                    seconds(lambda name=name: ours(images, name)),
                    seconds(lambda name=name: theirs(place, reprozip, name)),
                )
                for _ in range(RUNS)
            ]
            a, b = (statistics.median(pair[at] for pair in pairs) for at in (0, 1))
            ratio = statistics.median(pair[0] / pair[1] for pair in pairs)
            print(f"{name:8} {a:5.2f} s  ReproZip {b:5.2f} s  ratio {ratio:.2f}")


if __name__ == "__main__":
    main(sys.argv[1])
