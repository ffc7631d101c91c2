"""The pages of the allowlists: which list is meant, what a change would do, files of entries, and the gates' state."""
