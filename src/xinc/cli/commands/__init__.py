"""One module a command, or a few that belong together; each registers with the application."""
