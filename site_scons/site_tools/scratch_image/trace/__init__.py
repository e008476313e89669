"""Runs under strace: from the text of a log to the record of what a run used."""
