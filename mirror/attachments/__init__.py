"""Attached files: fetched, recognised by their bytes, shown where that is safe, else
refused.

Start with `fetch.py`.
"""
