"""Studies that settle whether a change to a detector pays: paired seeds, equal budgets, intervals, a verdict."""
