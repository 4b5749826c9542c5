"""OME-Zarr, on disk and behind addresses."""
