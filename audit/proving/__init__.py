"""Proofs: bundles, proofs of one message, and the verifier that needs nothing but Python."""
