package main

import (
	"context"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

const long = 24 * time.Hour

func waitForChannels() {
	go func() { <-forever }()
	go func() { neverTaken <- 1 }()
	go receiveOf(make(chan string))
	go sendTo(make(chan [9]int), [9]int{})
	full := make(chan int, 3)
	go func() {
		for i := 0; ; i++ {
			full <- i
		}
	}()
	go rangeOver(make(chan struct{}))
	go receiveOf[bool](nil)
	go sendTo(nil, 5)
	go selectOf(make(chan int), make(chan string), make(chan bool, 1))
	go func() {
		select {
		case neverTaken <- 1:
		case <-make(chan int):
		}
	}()
	go func() { select {} }()
}

func receiveOf[T any](channel chan T) T { return <-channel }

func sendTo[T any](channel chan T, value T) { channel <- value }

func rangeOver(channel chan struct{}) {
	for range channel {
		println("never")
	}
}

//go:noinline
func selectOf(a chan int, b chan string, c chan bool) {
	select {
	case <-a:
	case b <- "text":
	case <-c:
	case <-forever:
	}
}

type guarded struct {
	sync.Mutex
	balance int
}

func waitForLocks() {
	var held guarded
	held.Lock()
	go func() {
		held.Lock()
		held.balance++
		held.Unlock()
	}()
	go deferringUnlock(&held)

	var written, read sync.RWMutex
	written.Lock()
	read.RLock()
	go func() { written.RLock(); written.RUnlock() }()
	go func() { written.Lock(); written.Unlock() }()
	go func() { read.Lock(); read.Unlock() }()

	var group sync.WaitGroup
	group.Add(1)
	go group.Wait()
	go func() { group.Wait() }()

	cond := sync.NewCond(&sync.Mutex{})
	go func() {
		cond.L.Lock()
		for {
			cond.Wait()
		}
	}()

	var once sync.Once
	begun := make(chan bool)
	go once.Do(func() {
		close(begun)
		<-forever
	})
	<-begun
	go func() { once.Do(func() {}) }()
	go sync.OnceFunc(func() { <-forever })()
	go sync.OnceValue(func() int { return <-forever })()
}

func deferringUnlock(held *guarded) {
	held.Lock()
	defer held.Unlock()
	held.balance++
}

// foreign is a context that package context does not know, so that it needs a goroutine to follow it.
type foreign struct{ context.Context }

func (foreign) Done() <-chan struct{} { return make(chan struct{}) }

var cancels []context.CancelFunc

func waitForTime() {
	go time.Sleep(long)
	go func() { time.Sleep(long) }()
	go func() { <-time.NewTimer(long).C }()
	go func() {
		for range time.NewTicker(long).C {
			println("never")
		}
	}()
	go func() {
		select {
		case <-time.After(long):
		case <-forever:
		}
	}()
	arriving.Add(2)
	time.AfterFunc(time.Millisecond, afterwards)

	ctx, cancel := context.WithTimeout(context.Background(), long)
	cancels = append(cancels, cancel)
	go func() { <-ctx.Done() }()
	followed, cancel := context.WithCancel(foreign{context.Background()})
	cancels = append(cancels, cancel)
	go func(ctx context.Context) { <-ctx.Done() }(followed)
	ended, cancel := context.WithCancel(context.Background())
	context.AfterFunc(ended, afterwards)
	cancel()
}

func afterwards() {
	arriving.Done()
	<-forever
}

func waitForFiles() {
	quiet, unused, err := os.Pipe()
	must(err)
	go quiet.Read(make([]byte, 1))
	go func() { io.ReadAll(quiet) }()
	unread, full, err := os.Pipe()
	must(err)
	go func() {
		for {
			full.Write(make([]byte, 4096))
		}
	}()
	kept = append(kept, unused, unread)

	var ends [2]int
	must(syscall.Pipe(ends[:]))
	go syscall.Read(ends[0], make([]byte, 8))
	go rawRead(ends[0])
	go os.NewFile(uintptr(ends[0]), "blocking").Read(make([]byte, 8))
	go func() {
		runtime.LockOSThread()
		rawRead(ends[0])
	}()
	go func() { must(syscall.Nanosleep(&syscall.Timespec{Sec: 86400}, nil)) }()
	go func() {
		runtime.LockOSThread()
		<-forever
	}()
	memory, writing := io.Pipe()
	go io.Copy(io.Discard, memory)
	go func() {
		writing.Write([]byte("taken"))
		<-forever
	}()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	go func() { <-signals }()
}

var kept []any

//go:noinline
func rawRead(fd int) byte {
	var buffer [8]byte
	syscall.Syscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&buffer)), 8)
	return buffer[0]
}

func waitForNet() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	go serve(listener)
	for i := 0; i < 2; i++ {
		connection, err := net.Dial("tcp", listener.Addr().String())
		must(err)
		must(connection.SetReadDeadline(time.Now().Add(long)))
		kept = append(kept, connection)
		go io.ReadFull(connection, make([]byte, 8))
	}
	connection, err := net.Dial("tcp", listener.Addr().String())
	must(err)
	go func() {
		for {
			connection.Write(make([]byte, 1<<16))
		}
	}()
	packets, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(err)
	go packets.ReadFromUDP(make([]byte, 8))
}

func serve(listener net.Listener) {
	for count := 0; ; count++ {
		connection, err := listener.Accept()
		must(err)
		kept = append(kept, connection)
		if count < 2 {
			go connection.Read(make([]byte, 1))
		}
	}
}
