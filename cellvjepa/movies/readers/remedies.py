"""What is said to users of every format that is damaged."""

COPY_AGAIN = "copy the file again from where it was recorded"
