"""Writes the golden files again: read their diff before it is committed.

Run as ``PYTHONPATH=site_scons/site_tools:tests/support:tests/image python tests/image/archive/build.py``.
"""

import shutil
import tempfile
from pathlib import Path

from archives import TAR, build
from scratch_image.image import tar_header
from tars import listing
from test_archive import GOLDEN

with tempfile.TemporaryDirectory() as directory:
    made = Path(directory) / "x.oci.tar"
    build(made, [TAR, tar_header.END])
    shutil.copyfile(made, GOLDEN / "small.oci.tar")
(GOLDEN / "small.txt").write_bytes(listing(GOLDEN / "small.oci.tar"))
