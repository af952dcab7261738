"""What alerts stores, by topic."""
