"""Measures Holdfast beside its floors, in one run; `python -m bench` prints the table."""
