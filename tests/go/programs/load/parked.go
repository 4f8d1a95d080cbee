package main

import (
	"io"
	"os"
	"sync"
	"time"
)

const parkDepth = 6

// lots holds what goroutines are parked on, so that none of it is collected.
var lots []*lot

type lot struct {
	channel   chan int
	mutex     sync.Mutex
	readWrite sync.RWMutex
	group     sync.WaitGroup
	condition *sync.Cond
	pipe      io.Reader
	writer    io.Closer
}

var waits = []func(*lot){
	func(l *lot) { <-l.channel },
	func(l *lot) { l.mutex.Lock() },
	func(l *lot) { l.readWrite.RLock() },
	func(l *lot) { l.group.Wait() },
	func(l *lot) { l.condition.L.Lock(); l.condition.Wait() },
	func(l *lot) { time.Sleep(1000 * time.Hour) },
	func(l *lot) { _, _ = l.pipe.Read(make([]byte, 1)) },
	func(l *lot) {
		select {
		case <-l.channel:
		case <-time.After(1000 * time.Hour):
		}
	},
}

// descend waits below `depth` frames, so that parked stacks differ.
//
//go:noinline
func descend(l *lot, wait func(*lot), depth int) int {
	if depth == 0 {
		wait(l)
		return 0
	}
	return descend(l, wait, depth-1) + 1
}

// park starts goroutines that wait for ever, equally many for each kind of wait.
func park(count int) {
	for kind, wait := range waits {
		l := &lot{channel: make(chan int), condition: sync.NewCond(&sync.Mutex{})}
		reader, writer, err := os.Pipe()
		if err != nil {
			panic(err)
		}
		l.pipe, l.writer = reader, writer
		l.mutex.Lock()
		l.readWrite.Lock()
		l.group.Add(1)
		lots = append(lots, l)
		for i := kind; i < count; i += len(waits) {
			go descend(l, wait, i/len(waits)%parkDepth)
		}
	}
}
