"""The command line: options, words and exit statuses.

`client` talks to the running agent.
"""
