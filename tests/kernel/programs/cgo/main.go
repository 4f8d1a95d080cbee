// Stations where Go calls C and C calls Go: `cgo NAME` goes round one of them for ever.
package main

/*
#include "native.h"
*/
import "C"

import (
	"os"
	"runtime"
)

var sink int

//go:noinline
func work(n int) int {
	total := n
	for i := 0; i < n; i++ {
		total = total*31 + i
	}
	return total
}

//export goCompare
func goCompare(left, right C.int) C.int { return compareInGo(left, right) }

//go:noinline
func compareInGo(left, right C.int) C.int {
	sink += work(3000)
	return left - right
}

//export goCallback
func goCallback(n C.int) C.int { return leafInC(n) + 1 }

//go:noinline
func leafInC(n C.int) C.int { return C.native_leaf(n) + C.int(work(1000)&1) }

//go:noinline
func callsC() {
	for {
		sink += int(C.native_spin(1))
	}
}

//go:noinline
func callsSort() {
	for i := 1; ; i++ {
		sink += int(C.native_sort(C.int(i)))
	}
}

//go:noinline
func callsBack() {
	for i := 1; ; i++ {
		sink += int(C.native_calls_back(C.int(i)))
	}
}

//go:noinline
func callsBackDeep() {
	for i := 1; ; i++ {
		sink += int(C.native_calls_back_deep(C.int(i)))
	}
}

//go:noinline
func callsThread() { sink += int(C.native_thread(1)) }

func main() {
	stations := map[string]func(){
		"callsC": callsC, "callsSort": callsSort, "callsBack": callsBack, "callsBackDeep": callsBackDeep, "callsThread": callsThread,
	}
	station := stations[os.Args[1]]
	done := make(chan bool)
	go func() { // goroutines of their own begin in goexit, too
		station()
		done <- true
	}()
	<-done
	runtime.KeepAlive(sink)
}
