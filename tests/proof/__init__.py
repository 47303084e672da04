"""What all tests share that break something on purpose: how much they do, what they count, how it is printed."""
