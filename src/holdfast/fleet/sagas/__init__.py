"""Sagas: what is done to a session outside the store, step by step, whatever dies meanwhile."""
