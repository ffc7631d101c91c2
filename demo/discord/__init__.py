"""A stand-in for Discord: the parts of its API that the desk uses, and a page that
shows the channels as Discord would.
"""
