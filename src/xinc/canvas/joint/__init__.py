"""What neurons do together: effects on any number made of the picture, sums of terms, their Gram matrix."""
