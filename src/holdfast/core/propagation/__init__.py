"""Effects on the outside world: owed in the unit of work that decides them, then done at least once, or buried."""
