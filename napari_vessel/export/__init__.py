"""Curated samples out of a project."""
