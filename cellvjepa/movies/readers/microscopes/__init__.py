"""Formats of one maker: ND2, CZI, LIF, NDTiff."""
