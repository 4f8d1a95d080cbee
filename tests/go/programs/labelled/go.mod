module labelled

go 1.21
