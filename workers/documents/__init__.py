"""The main job's core: find, quote and compute over a folder of documents, without a model.

Pure and broker-free. The roles call the functions of `stages`; what passes between them is in
`model`. Nothing is invented: every statement of a brief is a quote or a recomputable figure.
"""
