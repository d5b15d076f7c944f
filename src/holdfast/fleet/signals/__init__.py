"""What agents say of themselves: the hook that they call, and the files by which nothing of it is lost."""
