"""What people look at: pictures and a page made of values that are given; how they came about is not known here.

``pictures.py`` draws cells and masks, ``plots.py`` draws numbers, ``animations.py`` lets clips move; all return the bytes of a
PNG or GIF. ``page.py`` says what a page is made of, ``html.py`` makes one file of it.
"""
