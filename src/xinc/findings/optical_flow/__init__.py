"""What moved between two frames, from elsewhere than DIS: files, or RAFT."""
