"""Pretraining: the loop, its objective, schedules, monitors and checkpoints."""
