// Shares burns the CPU time of one thread in three functions, for ever, by so many rounds of a loop in each that they
// have 50, 30 and 20 % of it. At each line on standard input it prints what they have had by the thread's own clock,
// in ns: {"main.alpha": n, "main.beta": n, "main.gamma": n}.
package main

import (
	"bufio"
	"encoding/json"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"
)

const (
	clockThreadCPUTime = 3 // CLOCK_THREAD_CPUTIME_ID, include/uapi/linux/time.h
	leastRounds        = 4_000
)

var used [3]atomic.Int64

func cpuTime() int64 {
	var time syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockThreadCPUTime, uintptr(unsafe.Pointer(&time)), 0)
	return time.Nano()
}

// burn has no frame of its own.
//
//go:noinline
func burn(n, seed int) int {
	for i := 0; i < n; i++ {
		seed = seed*1103515245 + 12345
	}
	return seed
}

//go:noinline
func alpha(rounds, seed int) int { return burn(50*rounds, seed) + 1 }

//go:noinline
func beta(rounds, seed int) int { return burn(30*rounds, seed) + 1 }

//go:noinline
func gamma(rounds, seed int) int { return burn(20*rounds, seed) + 1 }

func work() {
	runtime.LockOSThread()
	begin := cpuTime()
	for seed := 0; ; {
		rounds := leastRounds + seed>>32&0x1fff // so that no timer keeps in step with us
		for i, function := range []func(int, int) int{alpha, beta, gamma} {
			seed = function(rounds, seed)
			end := cpuTime()
			used[i].Add(end - begin)
			begin = end
		}
	}
}

func main() {
	go work()
	output := json.NewEncoder(os.Stdout)
	for input := bufio.NewScanner(os.Stdin); input.Scan(); {
		output.Encode(map[string]int64{
			"main.alpha": used[0].Load(), "main.beta": used[1].Load(), "main.gamma": used[2].Load(),
		})
	}
}
