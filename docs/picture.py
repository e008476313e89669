#!/usr/bin/env python3
"""Writes docs/report.png: the upper part of the report of images/fortune, as Chromium shows it.

Needs what `./dev test` installs, and builds the report if it is not there.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
REPORT = TOP / "build/images/fortune/fortune.report.html"
WIDTH, HEIGHT = 1200, 980


def main() -> None:
    """Make the picture."""
    subprocess.run(
        [sys.executable, "-m", "SCons", "-Q", "report/images/fortune"], cwd=TOP, check=True
    )
    with tempfile.TemporaryDirectory() as profile:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        options += [f"--user-data-dir={profile}", f"--window-size={WIDTH},{HEIGHT}"]
        options += ["--virtual-time-budget=3000", f"--screenshot={TOP / 'docs/report.png'}"]
        subprocess.run(["chromium", *options, f"file://{REPORT}"], check=True)


if __name__ == "__main__":
    main()
