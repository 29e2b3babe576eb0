"""The findings of the paper's section 4 and ours: one module each, one labelled Dataset each."""
