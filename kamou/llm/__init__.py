"""The client of a language model: chat completions over HTTP."""
