"""What surrounds the product in the demo: an SMTP inbox, a stand-in for Discord,
stand-ins for programs that receive events, and an agent that writes mail.

They talk to the product over SMTP and HTTP only, as the outside world does. Nothing
here is used in production.
"""
