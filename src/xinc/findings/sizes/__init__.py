"""How few bits a network takes, beside a video codec."""
