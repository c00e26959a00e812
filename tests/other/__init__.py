"""PBXs over HTTP, run against doubles over real connections on loopback."""
