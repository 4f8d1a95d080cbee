// Command handlers serves "requests" that wait for a lock, a channel, the network and a timer in turn, and keeps account
// of how long it was in each. It answers every line of input with its totals in nanoseconds, as JSON.
package main

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

type account struct {
	lock, channel, network, sleep, compute atomic.Int64
	began                                  [workers][5]atomic.Int64 // when the phase it is in began, 0: it is not
}

const workers = 6

var (
	told  account
	guard sync.Mutex
	sink  uint64
)

//go:noinline
func holdLock(d time.Duration) { guard.Lock(); time.Sleep(d); guard.Unlock() }

//go:noinline
func waitLock() { guard.Lock(); guard.Unlock() }

//go:noinline
func waitChannel(c chan int) { <-c }

//go:noinline
func waitNetwork(c net.Conn) { c.Read(make([]byte, 1)) }

//go:noinline
func waitTimer() { time.Sleep(60 * time.Millisecond) }

//go:noinline
func compute() {
	x := uint64(1)
	for i := 0; i < 2_000_000; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	atomic.AddUint64(&sink, x)
}

func timed(worker, phase int, total *atomic.Int64, f func()) {
	start := time.Now()
	told.began[worker][phase].Store(start.UnixNano())
	f()
	told.began[worker][phase].Store(0)
	total.Add(int64(time.Since(start)))
}

func handle(worker int, c chan int, conn net.Conn) {
	for {
		timed(worker, 0, &told.lock, waitLock)
		timed(worker, 1, &told.channel, func() { waitChannel(c) })
		timed(worker, 2, &told.network, func() { waitNetwork(conn) })
		timed(worker, 3, &told.sleep, waitTimer)
		timed(worker, 4, &told.compute, compute)
	}
}

func answer() {
	totals := []*atomic.Int64{&told.lock, &told.channel, &told.network, &told.sleep, &told.compute}
	now := time.Now().UnixNano()
	sums := make([]int64, len(totals))
	for phase, total := range totals {
		sums[phase] = total.Load()
		for worker := range told.began {
			if began := told.began[worker][phase].Load(); began != 0 {
				sums[phase] += now - began
			}
		}
	}
	json.NewEncoder(os.Stdout).Encode(map[string]int64{
		"main.waitLock": sums[0], "main.waitChannel": sums[1], "main.waitNetwork": sums[2], "main.waitTimer": sums[3],
		"main.compute": sums[4],
	})
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	for worker := 0; worker < workers; worker++ {
		mine, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			panic(err)
		}
		theirs, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		c := make(chan int)
		go handle(worker, c, mine)
		go func() {
			for {
				time.Sleep(90 * time.Millisecond)
				c <- 1
			}
		}()
		go func() {
			for {
				time.Sleep(120 * time.Millisecond)
				theirs.Write([]byte{1})
			}
		}()
	}
	go func() {
		for {
			holdLock(80 * time.Millisecond)
			time.Sleep(time.Millisecond)
		}
	}()
	for input := bufio.NewScanner(os.Stdin); input.Scan(); {
		answer()
	}
}
