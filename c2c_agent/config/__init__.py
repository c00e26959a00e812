"""The configuration file as values that were checked.

`rules` are the checks of single values, `pbx` and `sections` the sections of the file, `parse`
makes them of YAML and names what is wrong by its path, `files` reads the file, `conf.d` and the
secrets. It knows what can be configured, and builds nothing of it.
"""
