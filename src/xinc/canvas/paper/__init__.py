"""Section 3 of the paper: a neuron's term, spread by mean filters; the published code's variant as flags."""
