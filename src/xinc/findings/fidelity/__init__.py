"""Which maps to trust: every method against ablation."""
