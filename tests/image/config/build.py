"""Writes the golden files again: read their diff before it is committed.

Run as ``PYTHONPATH=site_scons/site_tools:tests/support:tests/image python tests/image/config/build.py``.
"""

from test_config import DOCUMENTS, GOLDEN

for name, document in DOCUMENTS.items():
    (GOLDEN / name).write_bytes(document + b"\n")
