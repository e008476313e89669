"""Child processes.

The one way to start them, runs and how they end, and a root of their own by namespaces.
"""
