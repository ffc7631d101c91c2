"""Practice messages: copies of approved mail with one fault, planted among the held
messages and ended at this desk. MultiMail never hears of one.

An optional feature: the desk knows them as messages that it alone has
(`approvals.local_messages`), and `apps.py` says what it adds to the desk.
"""
