"""The command line: options, words and exit statuses. What a command does stands elsewhere.

`options` is what commands share. Then a file for each kind of command: `run`, `check` and `probe`;
`calls` and `overview`, with `client`, which talks to the running agent; `setup`, `store` and
`webhook`. It may know everything, and nothing but `__main__` knows it.
"""
