"""Forges: where pulls, checks and reviews come from, and where a merge is made."""
