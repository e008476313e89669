"""The programs of tracer/*.c, and the directory in which they run."""

from __future__ import annotations

import glob
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lab import PACKAGE
from scratch_image.errors import TraceError
from scratch_image.fs.root import Root
from scratch_image.sandbox.run import Limits, Run
from scratch_image.trace import tracer
from scratch_image.trace.record import Record, Use
from scratch_image.trace.tracer import Trace

SOURCES = os.path.join(os.path.dirname(os.path.dirname(__file__)), "trace", "tracer")

FLAGS = {
    "m32": ["-m32"],
    "noptrace": ["-lseccomp"],
    "refuses": ["-lseccomp"],
    "static": ["-static"],
    "uring": ["-luring"],
}

ODD_NAMES = (
    *('q"uote', "back\\slash", "new\nline", "\udcff\udcfe", "café", "a<b>c", "a, b) = 3"),
    *(" <unfinished ...>", "ctl\1\x022", "tab\t", "x (deleted)", "it's"),
)
"""The paths that names.c opens."""


WORKLOADS = {
    "compile": "gcc -o d/program d/program.c",
    "python": "python3 -c 'import json, ssl, sqlite3, ctypes, unittest'",
    "pipes": "cat d/*.txt | sed s/a/b/ | sort -u | { read x; echo $x > d/out; }",
    "git": "git init -q d/new && cd d/new && git add . && git status",
    "perl": "perl -MJSON::PP -MPOSIX -e 'print encode_json([strftime(q(%c), localtime)])'",
    "find": "find /usr/lib/python3 /etc/alternatives -name '*.py' -newer /etc/passwd",
    "bash": "bash -O globstar -c 'for f in d/**; do read -r x < <(head -c1 $f); done 2>&-; :'",
    "awk": "awk 'FNR == 1 { print FILENAME }' d/*.txt",
    "tar": "tar cf d/x.tar d/real && tar xf d/x.tar -C d/sub",
    "scripts": "PATH=$PWD/bin:$PATH outer",
    "lookups": "getent passwd root; getent hosts localhost; iconv -f SJIS -t UTF-8 d/b.txt",
}
"""Command lines for a shell, whose programs look at many files, in many ways."""


def compile_all(where: Path) -> None:
    """Compile every program of tracer/*.c, and open.c in two more kinds."""
    names = [os.path.basename(source)[:-2] for source in glob.glob(SOURCES + "/*.c")]
    for name in [*names, "m32", "static"]:
        source = "open" if name in ("m32", "static") else name
        command = ["gcc", "-O1", "-w", "-pthread", "-o", f"{where}/{name}"]
        subprocess.run([*command, f"{SOURCES}/{source}.c", *FLAGS.get(name, [])], check=True)


def make_site(where: Path) -> None:
    """Fill a directory with files and links."""
    for name in ("d/real/a.txt", "d/b.txt", "d/c.txt", "d/e.txt"):
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_text(name)
    (where / "d/sub").mkdir()
    (where / "d/link").symlink_to("real")
    (where / "d/real/l1").symlink_to("a.txt")
    (where / "d/real/l2").symlink_to("a.txt")
    (where / "d/sub/chain").symlink_to("../link/l1")
    settle_clock()


def make_odd(where: Path) -> None:
    """Make the files of `ODD_NAMES`."""
    where.mkdir()
    for name in ODD_NAMES:
        (where / name).touch()
    settle_clock()


def make_workplace(site: Path) -> None:
    """Add to a site what `WORKLOADS` work on."""
    (site / "d/program.c").write_text(
        "#include <stdio.h>\nint main(void) { return puts(__FILE__) < 0; }\n"
    )
    (site / "bin").mkdir()
    for script, text in (
        ("outer", f"#!{site}/bin/inner\n"),
        ("inner", "#!/usr/bin/env sh\nexit 0\n"),
    ):
        (site / "bin" / script).write_text(text)
        (site / "bin" / script).chmod(0o755)
    settle_clock()


def settle_clock() -> None:
    """Wait until files made from now on have a later ctime: the clock of ctimes ticks slowly."""
    time.sleep(0.02)


def uses_below(record: Record, where: Path) -> dict[str, str]:
    """Return the uses of a record below `where`: kind by path from there."""
    start = os.fsencode(where) + b"/"
    return {
        os.fsdecode(use.path.removeprefix(start)): use.kind.value
        for use in record.uses
        if use.path.startswith(start)
    }


def kind_by_path(record: Record) -> dict[bytes, Use]:
    return {use.path: use.kind for use in record.uses}


def trace_error(program: Path | bytes, *argv: str, **run: object) -> str:
    """Return the text of the TraceError that a trace ends with."""
    with pytest.raises(TraceError) as caught:
        traced(program, *argv, **run)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def old_strace(where: Path, version: str, *, real: bool = False) -> bytes:
    """Return a strace that says it is `version`, and works only when `real`."""
    tool = where / "strace"
    body = 'exec /usr/bin/strace "$@"' if real else "exit 1"
    tool.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo "strace -- version {version}" && exit\n{body}\n'
    )
    tool.chmod(0o755)
    return os.fsencode(tool)


def strace_with(directory: Path, flag: str) -> bytes:
    """Return a strace that always gets one more flag."""
    made = directory / "strace"
    made.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] || set -- {flag} "$@"\nexec /usr/bin/strace "$@"\n'
    )
    made.chmod(0o755)
    return os.fsencode(made)


def limited(**limits: int) -> dict[str, Any]:
    """Return the settings of a private run with `limits`."""
    return {"private": True, "limits": Limits(**limits), "timeout": 30.0}


def run_python(
    code: str, temporary: Path, *before: str, user: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `code` in another Python, maybe as another user."""
    return subprocess.run(
        [*before, sys.executable, "-B", "-c", code],
        env={"PYTHONPATH": str(PACKAGE.parent), "TMPDIR": str(temporary)},
        cwd="/",
        user=user,
        group=user and "nogroup",
        extra_groups=[] if user else None,
        capture_output=True,
        text=True,
        timeout=60,
    )


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def traced(
    program: Path | bytes,
    *argv: str,
    root: Root | None = None,
    private: bool = False,
    **run: object,
) -> Trace:
    """Return the trace of a program, run where the test is."""
    path = program if isinstance(program, bytes) else os.fsencode(program)
    words = (path, *map(os.fsencode, argv))
    settings = replace(Run("demo", words, cwd=os.getcwdb()), **run)  # type: ignore[arg-type]
    return tracer.trace(settings, path, root or Root(), private=private)
