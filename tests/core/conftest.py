"""Puts this folder on the path: the tests of every room below build on its values."""
