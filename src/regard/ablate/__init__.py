"""Studies that find out whether a change to a detector improves it: paired seeds, equal budgets, a verdict."""
