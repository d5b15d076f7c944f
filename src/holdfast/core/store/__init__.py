"""The one store: two engines, one port, units of work."""
