"""Download the files of the collection and verify them."""
