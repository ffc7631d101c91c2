"""What stands around the taking in of webhooks: who may send one, what failed of it, and what is filled in afterwards.

Taking in itself is `approvals.intake.ingest`; nothing here decides about a message.
"""
