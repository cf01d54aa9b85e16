"""Independent references for the tests: tiny random models, and a straightforward eager computation.

Nothing in here imports the project.
"""
