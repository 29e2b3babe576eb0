"""Every option by name: its type, range and meaning, in tables that commands, Python and files of ours share."""
