"""The embedded exchange's markets, generated and recorded."""
