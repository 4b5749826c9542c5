"""Where things are: tables of cells, and the clips around them."""
