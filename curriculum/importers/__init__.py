"""Importers: the user's own copy of a known data set becomes a task set. One module a layout."""
