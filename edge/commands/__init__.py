"""What `triflow edge WORD` does besides running: one module a word, each with `main(argv) -> exit status`."""
