"""The cost of a private root for a traced run, against the same run in the plain file system.

Run as ``.venv/bin/python bench/private_root.py``; prints medians of paired runs and their ratio.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

PACKAGES = Path(__file__).parents[1] / "site_scons/site_tools"
PAIRS = 15
PROGRAMS = {
    "true": (b"/bin/true",),
    "python3": (b"/usr/bin/python3", b"-c", b"import json, ssl, sqlite3"),
}


def wall_seconds(argv: tuple[bytes, ...], *, private: bool) -> float:
    """Return how long a trace takes, from its call to its record."""
    from scratch_image.fs import root
    from scratch_image.sandbox import run
    from scratch_image.trace import tracer

    begun = time.monotonic()
    tracer.trace(run.Run("bench", argv), argv[0], root.Root(), private=private)
    return time.monotonic() - begun


def main() -> None:
    """Measure in turn, so that both see the same machine."""
    sys.path.insert(0, str(PACKAGES))
    for name, argv in PROGRAMS.items():
        wall_seconds(argv, private=True)
        pairs = [
            (wall_seconds(argv, private=True), wall_seconds(argv, private=False))
            for _ in range(PAIRS)
        ]
        private, plain = (statistics.median(pair[at] for pair in pairs) for at in (0, 1))
        added = statistics.median(pair[0] - pair[1] for pair in pairs)
        ratio = statistics.median(pair[0] / pair[1] for pair in pairs)
        print(
            f"{name:8} private {private * 1000:4.0f} ms  plain {plain * 1000:4.0f} ms  "
            f"added {added * 1000:3.0f} ms  ratio {ratio:.2f} (median of {PAIRS} pairs)"
        )


if __name__ == "__main__":
    main()
