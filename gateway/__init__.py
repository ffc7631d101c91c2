"""The gateway: a MultiMail-compatible email API that holds what agents send until somebody decides.

A product of its own: it speaks to the desk over HTTP and webhooks only, and imports nothing of it.
"""
