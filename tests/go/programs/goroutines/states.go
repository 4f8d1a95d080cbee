package main

import (
	"bytes"
	"io"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// account is what the program knows of its goroutines and the runtime's dump may not tell.
type account struct {
	// Labels by goroutine id. Those of others are none.
	Labels map[uint64]map[string]string `json:"labels"`
	// Moving are the ids of those that never stand still.
	Moving []uint64 `json:"moving"`
	// Stack is runtime.Stack of all: without the runtime's own goroutines and functions, and without wrappers.
	Stack string `json:"stack"`
}

var (
	known     = account{Labels: map[uint64]map[string]string{}}
	knownLock sync.Mutex
	arriving  sync.WaitGroup // for those that are not made by a go statement of ours
)

func init() { go madeInInit() }

func madeInInit() { <-forever }

func states([]int) any {
	waitForChannels()
	waitForLocks()
	waitForTime()
	waitForFiles()
	waitForNet()
	callInManyWays()
	panicInManyWays()
	recurse()
	label()
	iterate()
	callNative()
	for i := 0; i < 200; i++ {
		go oneOfMany(i)
	}
	arriving.Wait()
	end := make(chan bool)
	for i := 0; i < 300; i++ {
		go func() { <-end }()
	}
	close(end)
	settle(0)
	collectGarbage()
	go busy()
	stack := settle(1)
	knownLock.Lock()
	defer knownLock.Unlock()
	known.Stack = stack
	return known
}

//go:noinline
func oneOfMany(i int) { neverTaken <- i }

func ended() {}

var turns atomic.Uint64

func busy() {
	knownLock.Lock()
	known.Moving = append(known.Moving, goroutineID())
	knownLock.Unlock()
	for {
		turns.Add(1)
	}
}

// settle waits until no goroutine can run but the caller and so many that never stop: what will block has blocked. It
// returns the stacks of all.
func settle(moving int) string {
	buffer := make([]byte, 8<<20)
	var dump []byte
	for quiet := 0; quiet < 3; quiet++ {
		time.Sleep(20 * time.Millisecond)
		dump = buffer[:runtime.Stack(buffer, true)]
		if bytes.Count(dump, []byte(" [runnable"))+bytes.Count(dump, []byte(" [running")) > 1+moving {
			quiet = -1
		}
	}
	return string(dump)
}

func goroutineID() uint64 {
	buffer := make([]byte, 64)
	fields := bytes.Fields(buffer[:runtime.Stack(buffer, false)])
	id, err := strconv.ParseUint(string(fields[1]), 10, 64)
	must(err)
	return id
}

func collectGarbage() { runtime.GC() }

// The goroutine of finalizers is the runtime's own, except while it is in a function of ours.
func blockFinalizer() {
	begun := make(chan bool)
	runtime.SetFinalizer(&[64]int{}, func(*[64]int) {
		close(begun)
		<-forever
	})
	runtime.GC()
	<-begun
}

// From Go 1.27 on this profile marks what it has found: their state is another one afterwards.
func findLeaks() {
	if profile := pprof.Lookup("goroutineleak"); profile != nil {
		must(profile.WriteTo(io.Discard, 0))
	}
}
