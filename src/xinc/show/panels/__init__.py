"""What stands in the report, panel by panel."""
