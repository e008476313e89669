"""The steps from a program to an image: one module for each, found by `table`.

A module has the frozen step, the plan of a builder call, and the `KIND` that joins them.
"""
