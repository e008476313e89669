"""What all SConscripts of this project know, as before the plugin came."""

from pathlib import Path

VERSION = Path("VERSION").read_text().strip()
