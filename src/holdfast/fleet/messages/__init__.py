"""What is said to agents: every text a durable row, typed only where it cannot answer a dialog, settled by evidence."""
