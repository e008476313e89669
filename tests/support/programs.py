"""The programs of tracer/*.c, and the directory in which they run."""

from __future__ import annotations

import glob
import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from scratch_image.fs.root import Root
from scratch_image.sandbox.run import Run
from scratch_image.trace import tracer
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
"""What names.c opens."""


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
