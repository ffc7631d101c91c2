"""What an operator is told and may do when something is stuck: what it is, for how long, and the one safe act.

Nothing here decides about a message or reaches the network.
"""
