"""A browser as the judge of the simple form: what of a message it hides, moves or adds."""
