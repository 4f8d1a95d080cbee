package main

import (
	"runtime"
	"sort"
	"strings"
	"sync"
	"syscall"
)

// sink keeps results alive, so that no work is optimised away.
var sink struct {
	sync.Mutex
	total int
	bytes []byte
}

// worker repeats one round of every kind of call for ever.
func worker() {
	shapes := []shape{&square{base{2}}, circle{base{3}}, &nested{&square{base{4}}}}
	total := 0
	for {
		total += callsLeaf(20_000)
		total += sumOf(integers[:]) + int(sumOf(floats[:]))
		total += len(mapOf(integers[:], func(value int) string { return strings.Repeat("x", value%7) }))
		total += closures(300)
		total += methodValues(300)
		for range integers {
			for _, each := range shapes {
				total += each.Area() + each.Size()
			}
		}
		total += deferred(200)
		total += onNewStack(40)
		total += allocate(30)
		total += systemCalls(12)
		total += inlinedOuter(400)
		total += sorted()
		total += native(4_000)
		sink.Lock()
		sink.total += total
		sink.Unlock()
		runtime.Gosched()
	}
}

var integers, floats = func() (a [64]int, b [64]float64) {
	for i := range a {
		a[i], b[i] = i*7919%64, float64(i)
	}
	return
}()

// leaf has no frame of its own: only its return address leads to callsLeaf.
//
//go:noinline
func leaf(n, seed int) int {
	for i := 0; i < n; i++ {
		seed = seed*1103515245 + 12345
	}
	return seed
}

//go:noinline
func callsLeaf(n int) int {
	return leaf(n, 1) + leaf(n/2, 2)
}

type number interface{ ~int | ~float64 }

//go:noinline
func sumOf[T number](values []T) (total T) {
	for range values {
		for _, value := range values {
			total = add(total, value)
		}
	}
	return total
}

func add[T number](a, b T) T { return a + b }

//go:noinline
func mapOf[K comparable, V any](keys []K, value func(K) V) map[K]V {
	result := map[K]V{}
	for _, key := range keys {
		result[key] = value(key)
	}
	return result
}

type pair[A, B any] struct {
	first  A
	second B
}

//go:noinline
func (p *pair[A, B]) swap() pair[B, A] { return pair[B, A]{p.second, p.first} }

//go:noinline
func closures(n int) int {
	total := 0
	step := func(by int) func() {
		return func() {
			func() { total += by * len(integers) }()
		}
	}
	for i := 0; i < n; i++ {
		step(i)()
	}
	return total
}

type base struct{ length int }

//go:noinline
func (b base) Size() int { return b.length*b.length + leaf(40, b.length) }

type shape interface {
	Area() int
	Size() int
}

type square struct{ base }

func (s *square) Area() int { return s.length * s.length }

type circle struct{ base }

func (c circle) Area() int { return 3 * c.length * c.length }

type nested struct{ *square }

//go:noinline
func methodValues(n int) int {
	s := &square{base{n}}
	area, size := s.Area, (*square).Size
	swapped := (&pair[int, string]{n, "n"}).swap
	total := 0
	for i := 0; i < n; i++ {
		total += area() + size(s) + swapped().second
	}
	return total
}

//go:noinline
func deferred(n int) (total int) {
	for i := 0; i < n; i++ {
		func() {
			defer func() { total += leaf(20, i) }()
			defer recovered()
			if i%100 == 99 {
				panic("expected")
			}
		}()
	}
	return total
}

func recovered() { _ = recover() }

// onNewStack recurses on a goroutine whose stack begins small, so that runtime.morestack must grow it.
func onNewStack(depth int) int {
	result := make(chan int)
	go func() { result <- recurse(depth) }()
	return <-result
}

//go:noinline
func recurse(depth int) int {
	var space [256]byte
	if depth == 0 {
		return leaf(100, int(space[0]))
	}
	space[depth%len(space)] = byte(depth)
	return recurse(depth-1) + int(space[0])
}

//go:noinline
func allocate(n int) int {
	for i := 0; i < n; i++ {
		block := make([]byte, 4096)
		sink.Lock()
		sink.bytes = block
		sink.Unlock()
	}
	return n
}

//go:noinline
func systemCalls(n int) int {
	total := 0
	for i := 0; i < n; i++ {
		total += syscall.Getppid()
		var status syscall.Stat_t
		if syscall.Stat("/proc/self/exe", &status) == nil {
			total++
		}
	}
	return total
}

//go:noinline
func inlinedOuter(n int) int {
	total := 0
	for i := 0; i < n; i++ {
		total += inlinedMiddle(i)
	}
	return total
}

func inlinedMiddle(n int) int {
	if n%2 == 0 {
		return inlinedInner(n) * 3
	}
	return inlinedInner(n + 1)
}

func inlinedInner(n int) int {
	for i := 0; i < 8; i++ {
		n ^= n<<3 + i
	}
	return n
}

type byValue []int

func (b byValue) Len() int           { return len(b) }
func (b byValue) Less(i, j int) bool { return b[i] < b[j] }
func (b byValue) Swap(i, j int)      { b[i], b[j] = b[j], b[i] }

//go:noinline
func sorted() int {
	values := append([]int(nil), integers[:]...)
	sort.Sort(sort.Reverse(byValue(values)))
	return values[0]
}
