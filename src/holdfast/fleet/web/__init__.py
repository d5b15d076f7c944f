"""The fleet over HTTP: sessions, what is said to them and by them, kept work, agents."""
