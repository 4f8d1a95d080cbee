// A server that waits in three ways at once, each in a function of its own: for a lock, for a pipe, for a disk.
// All three block a thread (Go's own mutexes and channels do not), so all three are time off the CPU.
//
// `waiting DIRECTORY` says its process id, begins at a line on standard input, ends at the next, and prints what it
// has waited by its own clock: {"lock": {"waits": n, "seconds": s}, ...}.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"
)

type record struct {
	Waits   int     `json:"waits"`
	Seconds float64 `json:"seconds"`
}

func (r *record) of(wait func()) {
	begin := time.Now()
	wait()
	r.Seconds += time.Since(begin).Seconds()
	r.Waits++
}

var stop atomic.Bool

func must(err error) {
	if err != nil {
		panic(err)
	}
}

//go:noinline
func takeLock(fd int) { must(syscall.Flock(fd, syscall.LOCK_EX)) }

//go:noinline
func readPipe(fd int, buffer []byte) {
	_, err := syscall.Read(fd, buffer)
	must(err)
}

//go:noinline
func writeDisk(fd int, block []byte) {
	_, err := syscall.Pwrite(fd, block, 0)
	must(err)
	must(syscall.Fsync(fd))
}

// Waits for a lock that somebody else holds for 30 ms each time.
func lockServer(path string, mine *record) {
	other, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CREAT, 0o600)
	must(err)
	fd, err := syscall.Open(path, syscall.O_RDWR, 0)
	must(err)
	for !stop.Load() {
		must(syscall.Flock(other, syscall.LOCK_EX))
		time.AfterFunc(30*time.Millisecond, func() { syscall.Flock(other, syscall.LOCK_UN) })
		mine.of(func() { takeLock(fd) })
		must(syscall.Flock(fd, syscall.LOCK_UN))
	}
}

// Waits for somebody who writes into a pipe every 20 ms.
func pipeServer(mine *record) {
	var ends [2]int
	must(syscall.Pipe(ends[:]))
	buffer := make([]byte, 64)
	for !stop.Load() {
		time.AfterFunc(20*time.Millisecond, func() { syscall.Write(ends[1], []byte("x")) })
		mine.of(func() { readPipe(ends[0], buffer) })
	}
}

// Waits for the disk to have what was written.
func diskServer(path string, mine *record) {
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CREAT, 0o600)
	must(err)
	block := make([]byte, 4<<20)
	for !stop.Load() {
		block[0]++
		mine.of(func() { writeDisk(fd, block) })
	}
}

func main() {
	folder := os.Args[1]
	var lock, pipe, disk record
	fmt.Println(os.Getpid())
	lines := bufio.NewScanner(os.Stdin)
	lines.Scan()
	done := make(chan bool)
	for _, server := range []func(){
		func() { lockServer(filepath.Join(folder, "lock"), &lock) },
		func() { pipeServer(&pipe) },
		func() { diskServer(filepath.Join(folder, "disk"), &disk) },
	} {
		go func(server func()) {
			server()
			done <- true
		}(server)
	}
	lines.Scan()
	stop.Store(true)
	for i := 0; i < 3; i++ {
		<-done
	}
	must(json.NewEncoder(os.Stdout).Encode(map[string]record{"lock": lock, "pipe": pipe, "disk": disk}))
}
