"""The agents that Holdfast knows: declared in data, and in a small class where data does not do."""
