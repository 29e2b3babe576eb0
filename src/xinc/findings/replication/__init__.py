"""The paper's claims, measured on runs: claims, evidence, verdicts."""
