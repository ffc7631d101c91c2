"""Views of the desk: each reads the request, calls one query or command, and answers."""
