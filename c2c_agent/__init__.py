"""c2c-agent: the click-to-call agent that stands beside Asterisk."""

__version__ = "0.2.0"
