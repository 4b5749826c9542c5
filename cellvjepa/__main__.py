"""``python -m cellvjepa``."""

from cellvjepa.cli import main

main()
