"""Starts, watches and stops every process of Countersign.

Standard library only: it must stay small, and it never imports Django.
"""
