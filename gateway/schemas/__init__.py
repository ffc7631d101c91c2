"""The bodies of requests: every spelling that MultiMail's clients use, read into one shape; one module a subject."""
