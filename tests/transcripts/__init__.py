"""What real Asterisks said, byte for byte, and the script that recorded it."""
