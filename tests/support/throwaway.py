"""A throw-away root for tests that would harm the machine if what they test failed."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]

INSIDE = "IN_A_THROW_AWAY_ROOT"
"""A variable that only tests in there have."""

_KERNELS = ("/proc", "/sys", "/dev", "/run", "/tmp")

_SCRIPT = r"""
set -eu
place=$1 mounts=$2 top=$PWD
shift 2
mount -t tmpfs -o mode=755 tmpfs "$place"
mkdir "$place/upper" "$place/work" "$place/root"
mount -t overlay -o "nodev,lowerdir=/,upperdir=$place/upper,workdir=$place/work" overlay "$place/root"
cd "$place/root"
for path in $mounts; do mount --bind "$path" ".$path"; mount -o remount,bind,ro ".$path"; done
for name in run tmp dev; do mount -t tmpfs -o mode=1777,nodev tmpfs $name; done
for name in null zero full random urandom tty; do
    touch dev/$name
    mount --bind /dev/$name dev/$name
done
mkdir dev/pts dev/shm old
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t sysfs -o ro sysfs sys
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
touch "$place/file"
[ ! -e proc/sysrq-trigger ] || mount --bind "$place/file" proc/sysrq-trigger
pivot_root . old
umount -l /old
rmdir /old
cd "$top"
exec setpriv --bounding-set=-sys_boot,-sys_module,-sys_rawio,-sys_time "$@"
"""
"""All that is written goes to memory. Devices that are made there are none; the switches of the
kernel cannot be written, or are files like any other."""


def refusal() -> str:
    """Return why there is no throw-away root here; nothing where there is one."""
    if not os.environ.get("CI"):
        return "it would harm this machine if it failed: CI=true runs it in a throw-away root"
    if os.geteuid() != 0:
        return "only root makes a throw-away root"
    if _mounts()["/"] == "overlay":
        return "an overlay on an overlay leaves none for private roots"
    return ""


def run(node: str) -> None:
    """Fail where the test `node` does not pass in a throw-away root."""
    ran = _all(node.partition("::")[0])
    if f"PASSED {node}" not in ran.stdout.splitlines():
        pytest.fail(f"in a throw-away root:\n{ran.stdout}\n{ran.stderr}", pytrace=False)


@functools.cache
def _all(path: str) -> subprocess.CompletedProcess[str]:
    """Run all dangerous tests of the file `path` in one throw-away root."""
    mounts = [path for path in sorted(_mounts()) if not path.startswith(_KERNELS) and path != "/"]
    variables = {**os.environ, INSIDE: "1", "PYTEST_DEBUG_TEMPROOT": "/var/tmp", "TMPDIR": "/tmp"}
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        command = [
            *("unshare", "--mount", "--pid", "--ipc", "--net", "--uts", "--fork", "--kill-child"),
            *("sh", "-c", _SCRIPT, "sh", place, " ".join(mounts)),
            *(sys.executable, "-B", "-m", "pytest", "-rA", "-m", "dangerous", path),
            *("-p", "no:cacheprovider", "-p", "no:xdist"),
        ]
        return subprocess.run(
            command,
            cwd=TOP,
            env={name: value for name, value in variables.items() if "XDIST" not in name},
            capture_output=True,
            text=True,
            timeout=300,
        )


def _mounts() -> dict[str, str]:
    """Return the kind of file system at each place where one is mounted."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return {path: kind for _, path, kind, *_ in (line.split() for line in lines)}
