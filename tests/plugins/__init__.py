"""What the test runs add to pytest: guarantees, counted skips, programs that a test needs."""
