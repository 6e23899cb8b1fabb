"""Models of other libraries, seen through their answers alone."""
