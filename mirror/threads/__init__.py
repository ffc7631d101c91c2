"""The conversations that held drafts belong to, as MultiMail and the mirror tell them.

Start with `conversation.py`.
"""
