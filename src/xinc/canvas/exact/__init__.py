"""First-order transport: a neuron's term through the true rest of the network."""
