"""The floors: what the bare libraries do on this machine. Nothing in here imports Holdfast."""
