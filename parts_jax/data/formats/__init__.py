"""Files on disk: frames, videos, TFRecord, sets that TFDS prepared; read without TensorFlow."""
