"""TIFF of every kind."""
