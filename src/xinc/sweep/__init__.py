"""Many signals, models and seeds: a study file becomes cells, cells become runs, runs become one table."""
