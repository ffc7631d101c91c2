"""A stand-in for Discord: its webhook protocol, and a page that shows the channel as
Discord would.
"""
