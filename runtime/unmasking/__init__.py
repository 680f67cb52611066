"""Unmasking: which of a block's masked positions to commit, and with which tokens."""
