"""Writes the golden files again: read their diff before it is committed.

Run as ``PYTHONPATH=site_scons/site_tools:tests/support:tests/image python tests/image/layer/build.py``.
"""

import os
import tempfile
from pathlib import Path

from scratch_image.fs.root import Root, WatchedFileSystem
from tars import listing
from test_layer import ENTRIES, EPOCH, GOLDEN, make_base, packed

with tempfile.TemporaryDirectory() as directory:
    root = Root(WatchedFileSystem(os.fsencode(make_base(Path(directory) / "base")), epoch=EPOCH))
    (GOLDEN / "small.tar").write_bytes(packed(ENTRIES, root))
(GOLDEN / "small.txt").write_bytes(listing(GOLDEN / "small.tar"))
