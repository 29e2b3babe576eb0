"""One module a question of section 4 of the paper, and the regions, sums and samples that they share."""
