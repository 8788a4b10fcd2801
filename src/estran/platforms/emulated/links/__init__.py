"""What makes links slow and lossy: engines, and the ladder that chooses one by trying."""
