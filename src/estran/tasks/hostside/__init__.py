"""What runs on hosts, sent there by `estran.tasks.connection`: standard library only, from Python 3.8 on."""
