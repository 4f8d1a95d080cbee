package main

import (
	"sync"
	"time"
	"unsafe"
)

type stock struct {
	name  string
	mutex sync.Mutex
	count int
}

type guarded struct {
	sync.RWMutex
	name string
}

func makeLocks() {
	goods := &stock{name: "goods"}
	goods.mutex.Lock()
	for range [5]int{} {
		waitFor("mutex", &goods.mutex, func() { goods.mutex.Lock() })
	}
	deferred := &stock{}
	deferred.mutex.Lock()
	waitFor("deferred", &deferred.mutex, func() {
		deferred.mutex.Lock()
		defer deferred.mutex.Unlock()
		deferred.count++
	})
	makeReadWriteLocks()

	var group sync.WaitGroup
	group.Add(1)
	for range [2]int{} {
		waitFor("wait group", &group, group.Wait)
	}
	condition := sync.NewCond(&sync.Mutex{})
	for range [4]int{} {
		waitFor("cond", condition, func() {
			condition.L.Lock()
			condition.Wait()
		})
	}
	inside := &struct {
		text string
		cond sync.Cond
	}{}
	inside.cond.L = &sync.Mutex{}
	waitFor("cond", &inside.cond, func() {
		inside.cond.L.Lock()
		for {
			inside.cond.Wait()
		}
	})
	// A Cond whose waiter waits for its lock again, not for itself.
	relocked := sync.NewCond(&sync.Mutex{})
	waitFor("cond's lock", relocked.L.(*sync.Mutex), func() {
		relocked.L.Lock()
		relocked.Wait()
	})
	time.Sleep(100 * time.Millisecond)
	relocked.L.Lock()
	relocked.Broadcast()
	// What waits for a Once waits for the lock in it, behind a word that says whether it is done.
	once := &struct {
		sync.Once
		name string
	}{}
	go once.Do(func() { select {} })
	time.Sleep(100 * time.Millisecond)
	address := uint64(uintptr(unsafe.Pointer(once))) + 4
	start("once", address, nil, func() { once.Do(func() { once.name = "never" }) })
}

func makeReadWriteLocks() {
	written, read := &guarded{name: "written"}, &guarded{name: "read"}
	written.Lock()
	read.RLock()
	for range [3]int{} {
		waitFor("reader", &written.RWMutex, written.RLock)
		waitFor("writer behind a writer", &written.RWMutex, written.Lock)
	}
	waitFor("writer", &read.RWMutex, func() {
		read.Lock()
		read.name = "both"
	})
	time.Sleep(100 * time.Millisecond)
	waitFor("reader behind a writer", &read.RWMutex, func() { read.RLock() })
}

// What each of many goroutines does.
func crowds() map[string]func() {
	channel, other, lock := make(chan int), make(chan int), &sync.Mutex{}
	lock.Lock()
	var group sync.WaitGroup
	group.Add(1)
	condition := sync.NewCond(&sync.Mutex{})
	return map[string]func(){
		"channel":  func() { <-channel },
		"channels": func() { <-make(chan int) },
		"select": func() {
			select {
			case <-channel:
			case <-make(chan int):
			case other <- 1:
			}
		},
		"mutex": lock.Lock,
		"group": group.Wait,
		"cond": func() {
			condition.L.Lock()
			condition.Wait()
		},
		"sleep": func() { time.Sleep(time.Hour) },
	}
}
