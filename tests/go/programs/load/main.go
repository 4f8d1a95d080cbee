// Command load is what the benchmark profiles: every CPU is busy with deep, branching call chains that end in work of
// several kinds, while thousands of goroutines are parked. What it gets done is counted in `finished`, so that it shows
// how being profiled slows it down.
//
// The chains are generated (generate.py); this package does not build without them.
package main

import (
	"flag"
	"runtime"
	"sort"
	"sync/atomic"
)

const (
	minDepth = 10
	maxDepth = 40
	maxBusy  = 64
)

// finished counts the chains each worker has walked. The benchmark reads it from outside, by its symbol.
var finished [maxBusy]struct {
	chains atomic.Uint64
	_      [120]byte // two cache lines apart
}

// worker is the state of one busy goroutine.
type worker struct {
	route uint64 // decides each turn of a chain: the same route at the start gives the same chain
	value uint64 // what the work is done on
	kept  [][]byte
	next  int
	seen  map[uint64]uint64
	leaf  func(*worker) uint64
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
func (w *worker) run(id, paths int, sums []float64) {
	for n := uint64(id) << 40; ; n++ {
		random := scramble(scramble(n + 0x9e3779b97f4a7c15))
		path := int(n % uint64(paths))
		if sums != nil {
			path = sort.SearchFloat64s(sums, float64(random>>11)/(1<<53)*sums[len(sums)-1])
		}
		w.route = scramble(uint64(path) + 1)
		w.value = random
		depth := minDepth + int(w.turn(maxDepth-minDepth+1))
		w.value += entries[path%len(entries)](w, depth)
		finished[id].chains.Add(1)
	}
}

func main() {
	busy := flag.Int("n", min(2*runtime.NumCPU(), maxBusy), "busy goroutines")
	paths := flag.Int("paths", 300, "distinct call chains")
	spin := flag.Bool("spin", false, "end every chain in one tight loop and take all chains equally often: few distinct stacks")
	parked := flag.Int("parked", 2000, "parked goroutines")
	flag.Parse()

	park(*parked)
	leaf, sums := mixed, popularity(*paths)
	if *spin {
		leaf, sums = spinning, nil
	}
	for id := 0; id < *busy; id++ {
		w := &worker{kept: make([][]byte, 2048), seen: map[uint64]uint64{}, leaf: leaf}
		go w.run(id, *paths, sums)
	}
	select {}
}
