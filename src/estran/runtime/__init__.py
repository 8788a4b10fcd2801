"""What a component sees, and what carries it: ports, clock, transports, and the supervisor of one host's services."""
