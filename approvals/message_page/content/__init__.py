"""What the message page shows about the content of a message: recipients, source,
headers, differences between its parts and its versions, and stated facts.

Nothing here writes to the database. Start with `addresses.py`.
"""
