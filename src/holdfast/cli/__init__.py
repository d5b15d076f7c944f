"""The command line: one file per command group; talks HTTP and never opens the store (`up` excepted)."""
