"""What keeps the book true and positions protected."""
