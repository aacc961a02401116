"""All drawing: boxes, contact sheets, plots of a training, and what a layer attends to."""

from regard.system.home import keep_matplotlib_in_cache

keep_matplotlib_in_cache()  # before a module of this package imports it
