//go:build cgo

package main

// #include "native.h"
import "C"

func callNative() {
	go C.sleep_in_c(86400)
	go func() { C.sleep_in_c(C.int(len("a day") * 17280)) }()
	go C.call_back(0)
	go func() { C.call_back(3) }()
	arriving.Add(2)
	C.start_thread(0)
	C.start_thread(1)
}

//export goCalledBack
func goCalledBack(depth C.int) {
	if depth == 0 {
		<-forever
	}
	C.call_back(depth - 1)
}

//export goOfThread
func goOfThread(returns C.int) {
	arriving.Done()
	if returns == 0 {
		<-forever
	}
}
