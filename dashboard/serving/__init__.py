"""How a web process serves requests: an event loop in front of the WSGI application
waits for slow clients, and limits the bodies and the share of each client.

Start in `bridge.py`.
"""
