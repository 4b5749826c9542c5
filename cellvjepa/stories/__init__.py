"""What the program tells people: reports put together from the results of the rooms above."""
