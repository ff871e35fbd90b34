"""How films reach the model: scaled down as they are read, kept on disk for a node, and encoded ahead in threads."""
