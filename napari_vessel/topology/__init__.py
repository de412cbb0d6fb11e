"""Components, skeleton graph and calibre of a vessel mask."""
