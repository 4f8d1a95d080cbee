// Command load is what the benchmark profiles: every CPU is busy with deep, branching call chains that end in work of
// several kinds, while thousands of goroutines are parked. It reports its own progress, so that being profiled shows.
//
// The chains are generated (generate.py); this package does not build without them.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"sort"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	minDepth = 10
	maxDepth = 40
	logEvery = 100 * time.Millisecond
)

// worker is the state of one busy goroutine.
type worker struct {
	route uint64 // decides each turn of a chain: the same route at the start gives the same chain
	value uint64 // what the work is done on
	kept  [][]byte
	next  int
	seen  map[uint64]uint64
	leaf  func(*worker) uint64
	_     [64]byte // the counter is read by another thread
	done  atomic.Uint64
	_     [64]byte
}

// scramble spreads the bits of x (a xorshift-multiply step); small enough to be inlined everywhere.
func scramble(x uint64) uint64 {
	x ^= x >> 31
	x *= 0x7fb5d329728ea185
	return x ^ x>>27
}

// turn draws a number below n from the route.
func (w *worker) turn(n uint64) uint64 {
	w.route = w.route*0xd1342543de82ef95 + 1
	return (w.route >> 32) % n
}

// popularity is the running sum of weights 1/1, 1/2, 1/3, ...: few paths are common, many are rare.
func popularity(paths int) []float64 {
	sums := make([]float64, paths)
	total := 0.0
	for i := range sums {
		total += 1 / float64(i+1)
		sums[i] = total
	}
	return sums
}

// run walks one chain after another: of `sums` paths by popularity or, where it is nil, of `paths` in turn.
func (w *worker) run(seed uint64, paths int, sums []float64) {
	for n := seed; ; n++ {
		random := scramble(scramble(n + 0x9e3779b97f4a7c15))
		path := int(n % uint64(paths))
		if sums != nil {
			path = sort.SearchFloat64s(sums, float64(random>>11)/(1<<53)*sums[len(sums)-1])
		}
		w.route = scramble(uint64(path) + 1)
		w.value = random
		depth := minDepth + int(w.turn(maxDepth-minDepth+1))
		w.value += entries[path%len(entries)](w, depth)
		w.done.Add(1)
	}
}

// cpuMicros is the CPU time this process has used so far.
func cpuMicros() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return (usage.Utime.Nano() + usage.Stime.Nano()) / 1000
}

func main() {
	busy := flag.Int("n", 2*runtime.NumCPU(), "busy goroutines")
	paths := flag.Int("paths", 300, "distinct call chains")
	spin := flag.Bool("spin", false, "end every chain in one tight loop and take all chains equally often: few distinct stacks")
	parked := flag.Int("parked", 2000, "parked goroutines")
	log := flag.String("log", "", "write a line 'UNIX_NS ITERATIONS CPU_US' here ten times a second")
	flag.Parse()

	var out *os.File
	if *log != "" {
		var err error
		if out, err = os.Create(*log); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	park(*parked)
	leaf, sums := mixed, popularity(*paths)
	if *spin {
		leaf, sums = spinning, nil
	}
	workers := make([]*worker, *busy)
	for i := range workers {
		workers[i] = &worker{kept: make([][]byte, 2048), seen: map[uint64]uint64{}, leaf: leaf}
		go workers[i].run(uint64(i)<<40, *paths, sums)
	}
	for now := range time.Tick(logEvery) {
		if out == nil {
			continue
		}
		total := uint64(0)
		for _, w := range workers {
			total += w.done.Load()
		}
		fmt.Fprintf(out, "%d %d %d\n", now.UnixNano(), total, cpuMicros())
	}
}
