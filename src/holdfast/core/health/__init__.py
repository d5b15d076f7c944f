"""Health: checks with their criticality, refreshed off the request path, and the answer of readiness."""
