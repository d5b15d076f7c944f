"""The change log: declared columns, generated triggers, the ordered feed and its stream."""
