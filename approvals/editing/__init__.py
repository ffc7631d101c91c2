"""A person edits a held message: the edited version is sent to MultiMail as a new held
message, and the first one is rejected as replaced.

Start in `commands.py`. A worker sends and rejects in `send.py`.
"""
