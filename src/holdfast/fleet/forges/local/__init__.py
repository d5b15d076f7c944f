"""The forge `local`: pulls in the person's own repository, by git alone, without a remote."""
