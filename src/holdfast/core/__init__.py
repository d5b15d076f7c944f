"""The domain-free core: store, change log, lifecycle, access. Knows nothing of agents, forges or radios."""
