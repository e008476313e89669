"""The SCons side.

Variables, state and seals, footprints, steps, builders and aliases. Only this package imports
SCons.
"""
