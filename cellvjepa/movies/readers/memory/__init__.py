"""What earlier runs learnt about files."""
