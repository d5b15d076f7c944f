"""Reactions: what facts of sessions and pulls owe to agents and to people, once."""
