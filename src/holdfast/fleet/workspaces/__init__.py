"""Workspaces: the git worktrees that sessions work in, and the work that is kept of them. For threads: it blocks."""
