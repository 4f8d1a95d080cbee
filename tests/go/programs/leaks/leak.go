package main

import (
	"net"
	"sync"
)

var ways = map[string]func(){
	"none": nil, "send": send, "receive": receive, "nothing": nothing, "choose": choose, "empty": empty, "lock": lock,
	"read": read, "group": group, "signal": signal, "peer": peer,
}

func send() { make(chan int) <- 1 }

func receive() { <-make(chan int) }

func nothing() {
	var unmade chan int
	<-unmade
}

func choose() {
	select {
	case <-make(chan int):
	case <-never:
	}
}

func empty() { select {} }

var (
	held   sync.Mutex
	shared sync.RWMutex
	undone sync.WaitGroup
	quiet  = sync.NewCond(&sync.Mutex{})
)

func init() {
	held.Lock()
	shared.Lock()
	undone.Add(1)
}

func lock() {
	held.Lock()
	defer held.Unlock()
}

func read() {
	shared.RLock()
	defer shared.RUnlock()
}

func group() { undone.Wait() }

func signal() {
	quiet.L.Lock()
	defer quiet.L.Unlock()
	quiet.Wait()
}

func peer() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer listener.Close()
	connection, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		panic(err)
	}
	connection.Read(make([]byte, 1))
}
