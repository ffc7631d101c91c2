"""Tests of `simple_form` with Chromium as the judge: random messages are drawn, to see
which words are hidden, moved or added. Letters and pairs of parts that were written to
deceive are judged, too.
"""
