"""What a person sees: one style, a figure for each finding, the report and the explorer."""
