"""The Switchvox double, and the driver before it, over a real network: loopback."""
