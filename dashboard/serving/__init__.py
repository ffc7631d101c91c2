"""How a web process serves: an event loop for slow clients before the WSGI application, and limits on bodies.

It knows nothing of pages. Start in `bridge.py`.
"""
