"""How a web process serves: an event loop for slow clients before the WSGI application,
and limits on bodies.

It does not depend on any page. Start in `bridge.py`.
"""
