"""The pages in a real browser, and their programs without one (`pure/`)."""
