"""Bases that are not the machine's own: tars unpacked safely, and where each kind comes from."""
