// Command shop is a web service with a leak that is found in many: a price is asked for with a deadline, and who comes
// too late with it finds nobody to give it to. docs/goroutines.md looks for it from outside.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// askWarehouse takes a while, now and then too long.
func askWarehouse(item int) int {
	time.Sleep(time.Duration(10+item%10*10) * time.Millisecond)
	return 100 + item
}

// price asks the warehouse, but does not wait for ever.
func price(ctx context.Context, item int) (int, error) {
	found := make(chan int)
	go func() {
		found <- askWarehouse(item)
	}()
	select {
	case cents := <-found:
		return cents, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func serve(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 75*time.Millisecond)
	defer cancel()
	var item int
	fmt.Sscan(r.URL.Query().Get("item"), &item)
	cents, err := price(ctx, item)
	if err != nil {
		http.Error(w, "try again", http.StatusGatewayTimeout)
		return
	}
	fmt.Fprintln(w, cents)
}

// shopper buys one thing after the other.
func shopper(url string, first int) {
	for item := first; ; item++ {
		answer, err := http.Get(fmt.Sprintf("%s/price?item=%d", url, item))
		if err == nil {
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
	}
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	http.HandleFunc("/price", serve)
	for who := 0; who < 4; who++ {
		go shopper("http://"+listener.Addr().String(), 1000*who)
	}
	fmt.Println("ready")
	http.Serve(listener, nil)
}
