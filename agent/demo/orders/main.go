// Command orders is a small web shop that buys from itself: something to look at in a profile.
//
// It listens on loopback, prints "listening on ADDRESS" and then sends itself requests. It ends when its
// standard input closes, and in any case after ten minutes, so that it never outlives who started it.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"time"
)

const lifetime = 10 * time.Minute

func main() {
	clients := flag.Int("clients", 2*runtime.GOMAXPROCS(0), "clients that send requests at the same time")
	pause := flag.Duration("pause", time.Millisecond, "what a client waits between two requests")
	flag.Parse()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	shop := newShop(2000)
	go func() { log.Fatal(http.Serve(listener, shop.routes())) }()
	for id := 0; id < *clients; id++ {
		go newClient(id, "http://"+listener.Addr().String(), *pause).run()
	}
	fmt.Printf("listening on %s\n", listener.Addr())

	stdinClosed := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(stdinClosed)
	}()
	select {
	case <-stdinClosed:
	case <-time.After(lifetime):
	}
}
