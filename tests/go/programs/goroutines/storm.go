package main

import (
	"sync"
	"time"
)

// stormy is the ids of the goroutines that do not move, by how they are parked.
type stormy struct {
	sync.Mutex
	Parked map[string][]uint64 `json:"parked"`
	Stack  string              `json:"stack"` // as in account
}

func (s *stormy) note(how string) {
	id := goroutineID()
	s.Lock()
	defer s.Unlock()
	s.Parked[how] = append(s.Parked[how], id)
}

func storm(numbers []int) any {
	quiet := &stormy{Parked: map[string][]uint64{}}
	ways := []func(*stormy){stormReceive, stormSelect, stormLock, stormDeep, stormInlined, stormDeferred}
	stormHeld.Lock()
	for i := 0; i < numbers[0]; i++ {
		go ways[i%len(ways)](quiet)
	}
	quiet.Stack = settle(0)
	for i := 0; i < 2; i++ {
		go allocateAlways()
		go growAlways()
		go beginAlways()
		go passAlways()
	}
	return quiet
}

var stormHeld sync.Mutex

func stormReceive(s *stormy) {
	s.note("receive")
	<-forever
}

func stormSelect(s *stormy) {
	s.note("select")
	select {
	case <-forever:
	case <-time.After(long):
	}
}

func stormLock(s *stormy) {
	s.note("lock")
	stormHeld.Lock()
}

func stormDeep(s *stormy) {
	s.note("deep")
	down(25, forever)
}

func stormInlined(s *stormy) {
	s.note("inlined")
	hostOfInlined(forever)
}

func stormDeferred(s *stormy) {
	s.note("deferred")
	panicking()
}

var rubbish [512][]byte

// Makes the collector run all the time, which scans and shrinks the stacks of those parked.
func allocateAlways() {
	for i := 0; ; i++ {
		rubbish[i%len(rubbish)] = make([]byte, 1+i*7919%65536)
	}
}

func growAlways() {
	for depth := 1; ; depth = depth*5%4093 + 1 {
		grow(depth)
	}
}

//go:noinline
func grow(depth int) byte {
	var room [48]byte
	if depth > 0 {
		room[depth%len(room)] = grow(depth - 1)
	}
	return room[depth%7]
}

func beginAlways() {
	for {
		var group sync.WaitGroup
		for i := 0; i < 50; i++ {
			group.Add(1)
			go func(depth int) {
				defer group.Done()
				grow(depth)
			}(i)
		}
		group.Wait()
	}
}

func passAlways() {
	there, back := make(chan int), make(chan int)
	go func() {
		for n := range there {
			back <- n + 1
		}
	}()
	for n := 0; ; n = <-back {
		there <- n
	}
}
