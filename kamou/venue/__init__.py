"""The embedded venue. The exchange port imports it; it does not import the port."""
