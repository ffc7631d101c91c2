"""What the desk works out of a content when it is stored: findings, queue columns, the version before.

The mirror calls it through `mirror.examination`, without knowing it. Start with `examiner.py`.
"""
