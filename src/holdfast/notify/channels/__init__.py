"""Channels: the ways by which notices reach people who are not looking."""
