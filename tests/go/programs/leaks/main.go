// Command leaks has a leak beside goroutines that only look like one: a pool, bursts, and caches whose entries have a
// goroutine each that ticks. `leaks WAY` leaks in one way, see leak.go; `leaks none` does not.
//
// It prints "ready", and ends with its standard input.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"time"
)

func main() {
	way := ways[os.Args[1]]
	if way != nil {
		go spawnLeaks(way)
	}
	pool()
	go bursts()
	for _, janitor := range []func(){sleeping, selecting, ranging} {
		go fillCache(janitor)
	}
	go collect()
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}

func spawnLeaks(way func()) {
	for {
		go way()
		time.Sleep(5 * time.Millisecond)
	}
}

// Services allocate, so that the garbage collector comes by.
func collect() {
	for {
		time.Sleep(200 * time.Millisecond)
		runtime.GC()
	}
}

func pool() {
	jobs := make(chan time.Duration)
	for i := 0; i < 200; i++ {
		go worker(jobs)
	}
	go func() {
		for i := 0; ; i++ {
			jobs <- time.Duration(i%10) * time.Millisecond
		}
	}()
}

func worker(jobs chan time.Duration) {
	for job := range jobs {
		time.Sleep(job)
	}
}

// Rises for 1.2 s and drains for as long, the oldest first.
func bursts() {
	for {
		requests := make(chan bool)
		for i := 0; i < 240; i++ {
			go request(requests)
			time.Sleep(5 * time.Millisecond)
		}
		for i := 0; i < 240; i++ {
			requests <- true
			time.Sleep(5 * time.Millisecond)
		}
	}
}

func request(answers chan bool) { <-answers }

func fillCache(janitor func()) {
	for i := 0; i < 2000; i++ {
		go janitor()
		time.Sleep(10 * time.Millisecond)
	}
}

func sleeping() {
	for {
		time.Sleep(50 * time.Millisecond)
	}
}

var never = make(chan bool)

func selecting() {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-never:
			return
		}
	}
}

func ranging() {
	for range time.NewTicker(50 * time.Millisecond).C {
	}
}
