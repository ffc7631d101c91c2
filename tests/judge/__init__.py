"""Tests of `simple_form` with Chromium as the judge: random messages are drawn, to see
which words are hidden, moved or added.
"""
