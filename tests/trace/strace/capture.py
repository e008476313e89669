#!/usr/bin/env python3
"""Captures the .strace files beside this script: one program, seen in all forms that strace has.

Run as root where strace, gcc and unshare are. The files it traces are in a file system of its own.
"""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))

FORMS = {
    "f-o": ["-f", "-o", "OUT"],
    "f-y-o": ["-f", "-y", "-o", "OUT"],
    "f-stderr": ["-f", "-y"],
    "f-tt-T": ["-f", "-y", "-tt", "-T", "-o", "OUT"],
    "f-ttt": ["-f", "-y", "-ttt", "-o", "OUT"],
    "f-t-r": ["-f", "-y", "-t", "-r", "-o", "OUT"],
    "f-r-stderr": ["-f", "-y", "-r"],
    "f-yy": ["-f", "-yy", "-o", "OUT"],
    "f-xx": ["-f", "-y", "-xx", "-o", "OUT"],
    "f-bpf": ["-f", "-y", "--seccomp-bpf", "-e", "trace=!brk", "-o", "OUT"],
    "alone": ["-y", "-o", "OUT"],
    "alone-r": ["-y", "-r", "-o", "OUT"],
}
"""Options by the name of the file. "alone" is without -f: one process only."""

TREE = r"""
set -e
mount -t tmpfs none /srv
mkdir -p /srv/demo/real /srv/demo/sub
echo a > /srv/demo/real/a.txt
echo b > /srv/demo/both
ln -s real /srv/demo/link
ln -s ../link/a.txt /srv/demo/sub/chain
: > "$(printf '/srv/demo/q"uo\\te <1> \377\303\251\n\0012')"
gcc -O1 -static -pthread -o /srv/demo/demo "$1/demo.c"
cd /srv
exec "$2" "$1/capture.py" --inside
"""


def capture(name: str, options: list[str]) -> None:
    """Write NAME.strace."""
    target = os.path.join(HERE, f"{name}.strace")
    words = [target if word == "OUT" else word for word in options]
    done = subprocess.run(
        ["strace", "-s", "4096", *words, "--", "/srv/demo/demo"],
        env={},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if "OUT" not in options:
        with open(target, "wb") as stream:
            stream.write(done.stderr)


def main() -> None:
    """Capture all forms, in a mount namespace."""
    if "--inside" in sys.argv:
        for name, options in FORMS.items():
            capture(name, options)
    else:
        subprocess.run(["unshare", "-m", "sh", "-c", TREE, "sh", HERE, sys.executable], check=True)


if __name__ == "__main__":
    main()
