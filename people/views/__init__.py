"""Views of the people app: each reads the request, calls one query or command, and answers."""
