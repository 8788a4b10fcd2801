"""Links between real hosts: their paths measured, slowed down where packets leave, and measured again."""
