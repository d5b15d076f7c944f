"""HTTP: access rules, error envelope, the app factory."""
