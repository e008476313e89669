"""The file list.

Extra lists, presets, secrets, packages and dependencies, merged to what an image holds and why.
"""
