"""Practice messages: planted among the held ones, and ended at this desk. MultiMail
never hears of one.

Start in `commands.py`; the tables are in `approvals/models/practice.py`.
"""
