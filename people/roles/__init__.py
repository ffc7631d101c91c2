"""What roles are granted for, and granting and revoking them under locks that keep one
admin.

It has no pages: `people.directory` and `people.invitations` call it. Start reading at
`targets.py`.
"""
