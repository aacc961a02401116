"""The studio: a local page on which a detector is seen, edited and inspected, over the functions of `regard.api`."""
