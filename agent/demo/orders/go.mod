module goroscope.demo/orders

go 1.21
