"""What answers look like, for the OpenAPI document: one module a subject."""
