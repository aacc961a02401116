"""Model graphs as data: read, edited by name, checked, built, summed up."""
