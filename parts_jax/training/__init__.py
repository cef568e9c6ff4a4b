"""What training needs beside the model: optimizer and progress."""
