"""What is wrong now, who has it, who is told."""
