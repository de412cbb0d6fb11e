"""From an image to a vessel probability and a mask."""
