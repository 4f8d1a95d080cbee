// Waits has goroutines that wait for channels and locks of all sorts, and prints what they wait for as JSON. With the
// argument "offsets" it prints the offsets of the runtime's own structures by its DWARF instead.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"
)

// Wait is one goroutine: what it waits for, and by which name.
type Wait struct {
	Name    string
	Address uint64
	Others  []uint64
}

// Channel is what Go says of one.
type Channel struct{ Buffered, Capacity, Senders, Receivers int }

// Report is all there is to say.
type Report struct {
	Waits    map[string]Wait
	Channels map[string]Channel
}

var (
	lock     sync.Mutex
	report   = Report{map[string]Wait{}, map[string]Channel{}}
	starting sync.WaitGroup
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "offsets" {
		printOffsets()
		return
	}
	crowd := 0
	if len(os.Args) > 2 {
		crowd, _ = strconv.Atoi(os.Args[2])
	}
	if crowd > 0 {
		makeCrowd(os.Args[1], crowd)
	} else {
		makeChannels()
		makeLocks()
	}
	starting.Wait()
	time.Sleep(500 * time.Millisecond)
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		panic(err)
	}
	var end [1]byte
	os.Stdin.Read(end[:])
	runtime.KeepAlive(&lock)
}

// start runs a function in a goroutine that is to wait for something.
func start(name string, address uint64, others []uint64, wait func()) {
	starting.Add(1)
	go func() {
		lock.Lock()
		report.Waits[goroutine()] = Wait{name, address, others}
		lock.Unlock()
		starting.Done()
		wait()
	}()
}

func goroutine() string {
	var text [64]byte
	size := runtime.Stack(text[:], false)
	return strings.Fields(string(text[:size]))[1]
}

func addressOf(channel any) uint64 { return uint64(reflect.ValueOf(channel).Pointer()) }

func tell(channel any, senders, receivers int) {
	value := reflect.ValueOf(channel)
	report.Channels[fmt.Sprint(value.Pointer())] = Channel{value.Len(), value.Cap(), senders, receivers}
}

func waitFor[T any](name string, pointer *T, wait func()) {
	start(name, uint64(uintptr(unsafe.Pointer(pointer))), nil, wait)
}
