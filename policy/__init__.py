"""May this be approved, and by whom: allowlists, the kill switch, and the ruling that
follows from them.

The evaluation (`evaluation.py`, `allowlists/judgement.py`) is pure; nothing here
decides a message. Start with `evaluation.py`.
"""
