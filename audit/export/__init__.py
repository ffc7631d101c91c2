"""Exports of what a filter shows, as CSV or JSON Lines, streamed to the browser.

Its pages are in `people.exports`, because they ask people to confirm who they are.
Start reading at `exports.begin_export`, then `download.Download`.
"""
