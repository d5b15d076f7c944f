"""The holder: a small process of its own that owns the terminal of one agent, records it, and outlives the daemon.

What stands here runs without site packages and imports nothing of the rest: only `os`, `socket` and the like.
"""
