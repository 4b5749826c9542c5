"""Movies of one file per frame."""
