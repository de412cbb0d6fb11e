"""A better model from what an annotator corrected: prepared, trained beside rehearsal, judged by a gate."""
