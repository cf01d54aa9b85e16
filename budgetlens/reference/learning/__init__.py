"""How the built-in model learns: batches, curriculum, recipe, measures, and the command that repeats it."""
