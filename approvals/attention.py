"""What is stuck and why, with the one safe thing to do: for the admins' page and for `doctor`."""
