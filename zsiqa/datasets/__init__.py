"""Readers: a folder or file in, labelled image pairs out. One module a data set; `release`: what some share."""
