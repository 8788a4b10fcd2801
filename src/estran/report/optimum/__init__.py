"""What people read of an optimisation: its page, and its tables on a terminal."""
