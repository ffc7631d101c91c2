"""What the message page says about a letter: its parts compared, its source, its headers, its people, its facts.

Nothing here decides or writes, and nothing reaches the network.
"""
