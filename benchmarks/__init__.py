"""Benchmarks: one file a question, run by `./run bench`; each compares two sides
measured in the same run.
"""
