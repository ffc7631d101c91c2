"""Attached files of held messages: fetches them from MultiMail, detects by their bytes
what they really are, and shows reviewers a harmless rendering, or says why not.

Start with `fetch.py`.
"""
