"""The commands of `curlvpr`, one module per group. Heavy imports happen inside the functions."""
