"""Ours, as the harness drives it: each module is a process that answers questions."""
