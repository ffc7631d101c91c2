"""The conversations that held drafts belong to, as MultiMail and the mirror report
them.

Start with `conversation.py`.
"""
