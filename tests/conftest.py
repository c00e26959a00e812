"""Settings of all tests."""

from hypothesis import settings

# A test that is slow on a busy machine is not wrong.
settings.register_profile("c2c-agent", deadline=None)
settings.load_profile("c2c-agent")
