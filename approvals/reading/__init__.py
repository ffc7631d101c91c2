"""What the message page says about a letter: its parts compared, its source, its headers, its people, its facts.

Nothing here decides. Only `fetch` has MultiMail asked, and only `fetch` and `opening` write.
"""
