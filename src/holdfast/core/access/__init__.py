"""Who may do what: bearer tokens, their scopes, and single-use tickets for browsers."""
