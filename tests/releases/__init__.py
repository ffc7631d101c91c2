"""What the desks of earlier releases left in their databases: test_upgrade starts this
code over each of them.
"""
