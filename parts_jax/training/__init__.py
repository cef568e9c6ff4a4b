"""What training needs beside the model: optimizer, truncated backpropagation, progress."""
