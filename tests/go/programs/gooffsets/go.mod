module gooffsets

go 1.21
