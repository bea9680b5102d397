"""The embedded venue's market sources: the generated and the recorded market."""
