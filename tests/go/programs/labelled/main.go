// Command labelled burns CPU under pprof labels that tell which function burns it, and changes them every millisecond,
// so that the memory of old sets is used again all the time. One goroutine has many labels, one has long ones, one none.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"time"
)

var sink uint64

//go:noinline
func spin(rounds int) {
	x := uint64(rounds)
	for i := 0; i < rounds; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	sink += x
}

//go:noinline
func burn0() { spin(300_000); sink++ }

//go:noinline
func burn1() { spin(300_000); sink++ }

//go:noinline
func burn2() { spin(300_000); sink++ }

//go:noinline
func burnMany() { spin(300_000); sink++ }

//go:noinline
func burnLong() { spin(300_000); sink++ }

//go:noinline
func burnPlain() { spin(300_000); sink++ }

// requests serves one "request" after the other, each with labels of its own.
func requests() {
	burn := []func(){burn0, burn1, burn2}
	for n := 0; ; n++ {
		which := n % len(burn)
		id := fmt.Sprintf("%d-%013d", which, n)
		labels := pprof.Labels("worker", fmt.Sprint(which), "request", id, "trace_id", strings.Repeat(fmt.Sprint(which), 32))
		pprof.Do(context.Background(), labels, func(context.Context) { burn[which]() })
	}
}

func forever(burn func(), pairs ...string) {
	pprof.Do(context.Background(), pprof.Labels(pairs...), func(context.Context) {
		for {
			burn()
			runtime.Gosched()
		}
	})
}

func main() {
	debug.SetGCPercent(5)
	runtime.GOMAXPROCS(2)
	var many []string
	for i := 0; i < 30; i++ {
		many = append(many, fmt.Sprintf("key%02d", i), fmt.Sprintf("value %d", i))
	}
	go forever(burnMany, many...)
	go forever(burnLong, "long", strings.Repeat("é", 120), "empty", "", "longer", strings.Repeat("x", 1000))
	go requests()
	go func() {
		for {
			burnPlain()
			runtime.Gosched()
		}
	}()
	fmt.Fprintln(os.Stdout, "ready")
	time.Sleep(time.Hour)
}
