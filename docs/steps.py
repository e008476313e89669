#!/usr/bin/env python3
"""Writes docs/steps.svg: the steps of an image, as Graphviz draws docs/steps.dot."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

DOCS = Path(__file__).resolve().parent


def main() -> None:
    """Draw the picture, without the version of Graphviz."""
    command = ["dot", "-Tsvg", str(DOCS / "steps.dot")]
    drawn = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (DOCS / "steps.svg").write_text(re.sub(r"<!-- Generated.*?-->\n", "", drawn, flags=re.DOTALL))


if __name__ == "__main__":
    main()
