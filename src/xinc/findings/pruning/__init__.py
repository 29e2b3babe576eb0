"""What a network can do without: scores, what is cut, what is left."""
