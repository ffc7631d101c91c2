"""The template tags about people and what they may change."""
