"""The invented world of the built-in corpus: names, values, sentences, documents, questions and rows."""
