"""Files as Linux has them.

Paths as bytes, digests, owners, capabilities, and the root that every look goes through.
"""
