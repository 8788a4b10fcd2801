"""The flow engine: experiments as arrays of queues and links, by cost models alone, for very many hosts."""
