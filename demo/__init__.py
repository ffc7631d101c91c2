"""The demo's surroundings of the product: an SMTP inbox, a stand-in for Discord, and an
agent that writes mail.

Speaks to the product over SMTP and HTTP only, as the outside world does. Nothing here
is used in production.
"""
