"""What the numbers say in words."""
