"""One reader per kind of file: text in, passages with their exact places out."""
