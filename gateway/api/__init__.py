"""The routes of the gateway, one module a use case. Handlers parse, call one command, and shape the answer."""
