module waiting

go 1.21
