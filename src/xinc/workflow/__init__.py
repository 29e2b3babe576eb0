"""What a person asks for, step by step: fit, trace, analyse, report; and what is in a run or a checkpoint."""
