"""Pull requests: what is known of them, however it was seen, and what that comes to."""
