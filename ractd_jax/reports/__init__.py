"""Tables, numbers and pictures that are made of results."""
