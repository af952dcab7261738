"""The page "Demo estate" and what sets the estate up. The estate itself is agents/demo."""
