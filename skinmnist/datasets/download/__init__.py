"""Download and verify the files of the Kaggle collection."""
