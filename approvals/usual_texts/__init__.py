"""The usual reasons of a mailbox and its saved comments: built-in ones, and those that
its admins wrote.

`texts.py` reads and changes them; `views.py` is the page on which an admin writes them.
"""
