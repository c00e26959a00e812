"""Asterisk Manager Interface (AMI): messages, actions, and the link that carries them."""
