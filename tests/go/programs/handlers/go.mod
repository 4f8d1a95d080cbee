module handlers

go 1.21
