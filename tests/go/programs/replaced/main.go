// Command replaced has as many parked goroutines as its first argument says, prints a line when they are, and becomes
// itself with the other arguments when it reads a line.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
)

var forever = make(chan int)

func park(started *sync.WaitGroup) {
	started.Done()
	<-forever
}

func main() {
	count, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	var started sync.WaitGroup
	started.Add(count)
	for i := 0; i < count; i++ {
		go park(&started)
	}
	started.Wait()
	fmt.Println("ready")
	if bufio.NewScanner(os.Stdin).Scan() && len(os.Args) > 2 {
		panic(syscall.Exec("/proc/self/exe", append(os.Args[:1], os.Args[2:]...), os.Environ()))
	}
}
