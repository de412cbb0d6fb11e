"""Dock widgets: the only package that knows Qt and napari."""
