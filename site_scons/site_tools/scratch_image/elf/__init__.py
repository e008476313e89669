"""ELF files, read and never executed.

Headers, `#!` lines, where the loader searches, and the libraries of a program.
"""
