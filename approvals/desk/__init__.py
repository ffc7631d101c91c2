"""The desk around the letters: what the queue is filtered and sorted by, and what people leave at a message.

Nothing in here decides about a message or speaks to MultiMail.
"""
