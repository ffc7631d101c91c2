"""Ends messages whose time is over: rejected upstream with that reason, never sent."""
