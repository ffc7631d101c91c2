"""Floods that a cap set apart: what an admin or reviewer does with them, and the caps
themselves.

Start with `commands.py`; `approvals/caps.py` counts and sets apart.
"""
