"""Studies that find out whether a change to a detector improves it: paired seeds, equal budgets, a verdict."""

import sys

from regard.system.home import import_torch_elsewhere, keep_matplotlib_in_cache

keep_matplotlib_in_cache()  # before a module of this package imports it
if sys.argv[:1] == ["-m"]:  # Python is about to run a module of this package as a program
    import_torch_elsewhere()
