"""Review: the session through whose one door a mask changes, and the project that remembers."""
