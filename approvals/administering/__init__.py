"""Changes settings of an account at MultiMail for an admin, at once: the only network that a page may wait for."""
