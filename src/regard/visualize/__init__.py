"""All drawing: boxes, contact sheets, plots of a training, and what a layer attends to."""
