"""cellvjepa in napari: open movies and embeddings, and embed the movie you look at.

napari reads ``napari.yaml`` and imports the modules it names when they are first used.
"""
