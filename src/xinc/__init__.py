"""xinc."""
