"""What neurons do together: dimensions, shared work and cancellation."""
