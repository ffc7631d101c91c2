"""Stand-ins for programs that receive a desk's events: Inngest's event API, and a
receiver of signed webhooks.
"""
