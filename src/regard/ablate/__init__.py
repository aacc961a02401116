"""Studies that find out whether a change to a detector improves it: paired seeds, equal budgets, a verdict."""

from regard.system.home import keep_matplotlib_in_cache

keep_matplotlib_in_cache()  # before a module of this package imports it
