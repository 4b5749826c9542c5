"""Classifying phenotypes from a few labels, and scoring it honestly."""
