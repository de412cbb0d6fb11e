"""Gaps in a vessel network: found, ranked, explained and drawn."""
