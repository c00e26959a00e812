"""The benchmark: the agent beside a bare-socket ceiling and the libraries a user would pick."""
