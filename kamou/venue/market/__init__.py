"""The markets of the embedded exchange: generated and recorded."""
