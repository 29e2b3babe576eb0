"""The networks: Fourier features, SIREN, and the decoder that NeRV and HNeRV share."""
