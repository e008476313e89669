"""Writes the golden files anew: read their diff before it is committed.

Run as ``PYTHONPATH=site_scons/site_tools:tests python tests/archive/build.py``.
"""

import shutil
import tempfile
from pathlib import Path

from scratch_image import layer
from test_archive import GOLDEN, TAR, build
from test_layer import listing

with tempfile.TemporaryDirectory() as directory:
    made = Path(directory) / "x.oci.tar"
    build(made, [TAR, layer.END])
    shutil.copyfile(made, GOLDEN / "small.oci.tar")
(GOLDEN / "small.txt").write_bytes(listing(GOLDEN / "small.oci.tar"))
