"""The page where one points at a pixel: from a local server, or as one file with the network in it."""
