"""Synthetic vessel trees with exact truth."""
