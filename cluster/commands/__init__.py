"""The commands of `curlvpr`, a module for each group. Heavy imports happen inside the functions."""
