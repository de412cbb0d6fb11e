"""Reading, describing and writing images and masks."""
