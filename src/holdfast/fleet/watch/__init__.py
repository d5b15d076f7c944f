"""The watch: looks at everything that lives, adopts it after a restart, and lets in who waits."""
