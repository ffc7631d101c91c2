"""May this message be approved, and by whom: the rules of the policy, allowlists, the
kill switch, review plans, and the ruling that combines them.

Nothing here decides a message. The evaluation (`evaluation.py`) is pure. Start there.
"""
