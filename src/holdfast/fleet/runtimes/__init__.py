"""Where agents run: one port, and what stands behind it."""
