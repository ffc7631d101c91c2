"""Breaks the core on purpose, one small change at a time, and counts what the fast tests notice: `./run mutants`."""
