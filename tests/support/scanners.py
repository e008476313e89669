"""The packages that a scanner sees in an image, and those that dpkg has for its file list."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from scratch_image.files.entry import read_entries

SYFT = Path(sys.executable).with_name("syft")


def scanned(archive: Path) -> list[dict[str, Any]]:
    """Return what syft finds in an image archive."""
    ran = subprocess.run(
        [SYFT, "-q", f"oci-archive:{archive}", "-o", "json"],
        env={**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"},
        capture_output=True,
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(ran.stdout)["artifacts"]
    return found


def owners(listed: Path) -> set[str]:
    """Return the names of the packages that files and links to files in a file list are of."""
    paths = []
    for entry in read_entries(listed.read_bytes(), str(listed)):
        path = os.fsdecode(entry.path)
        if not entry.text and not entry.source and os.path.isfile(path):
            paths += [path, path.removeprefix("/usr")]
    ran = subprocess.run(["dpkg", "-S", *paths], capture_output=True, text=True, check=False)
    found = set()
    for line in ran.stdout.splitlines():
        packages, _, path = line.partition(": ")
        if path in paths and not packages.startswith("diversion "):
            found.add(packages.split(", ")[0].split(":")[0])
    return found
