"""Sessions: their facts, who may change them, and what they are shown as."""
