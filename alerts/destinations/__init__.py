"""What admins set: destinations, their routes and secrets, and samples of what would be
delivered.

It knows kinds of destinations only through alerts.channels, and nothing of requests.
Start reading at commands.py.
"""
