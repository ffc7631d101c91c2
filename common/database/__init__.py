"""Django's backend for PostgreSQL, with a limit on how long it waits."""
