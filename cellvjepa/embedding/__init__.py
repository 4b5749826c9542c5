"""Embeddings: one vector per clip, in a store that survives interruptions, with a table, projections and clusters."""
