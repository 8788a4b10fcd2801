"""What makes hosts slow and small: limits of processor and memory, and the ladder that chooses one by trying."""
